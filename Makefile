.PHONY: bootstrap demo down test check
bootstrap demo down test check:
	@script/$@
