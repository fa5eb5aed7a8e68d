"""The receiver of GitHub's webhook: a push comes in, a flow run stands in Prefect before GitHub hears yes."""
