"""How flows get started: Prefect deployments, the command line, the local stack."""
