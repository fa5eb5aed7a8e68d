"""The sample model API that the root Dockerfile builds."""
