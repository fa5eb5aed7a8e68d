"""Cloud Storage, the JSON API."""
