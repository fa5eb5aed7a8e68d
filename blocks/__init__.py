"""The outside world: one typed Prefect block per system the flows talk to."""
