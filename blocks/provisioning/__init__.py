"""The resources of an environment in Google Cloud: one file per API."""
