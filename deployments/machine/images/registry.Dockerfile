# Stand-in for the official registry:2 image, where no image registry is in reach.
FROM python:3.11-slim
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends docker-registry && rm -rf /var/lib/apt/lists/*
ENV REGISTRY_STORAGE_DELETE_ENABLED=true
VOLUME /var/lib/registry
EXPOSE 5000
COPY registry.yml /etc/docker/registry/config.yml
ENTRYPOINT ["docker-registry"]
CMD ["serve", "/etc/docker/registry/config.yml"]
