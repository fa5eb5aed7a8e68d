"""The plain rules: spec, versions, release record, swap state machine. No Prefect, no cloud client."""
