"""Getting one machine ready: engine, base images, registry, the agent's image."""
