.PHONY: bootstrap demo demo-cloud down test check
bootstrap demo demo-cloud down test check:
	@script/$@
