"""The receiver of GitHub's webhook: a push is on disk before GitHub hears yes, and then a run in Prefect."""
