"""Cloud Logging: entries are written and listed."""
