"""Where an environment's releases run."""
