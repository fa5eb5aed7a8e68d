# Stand-in for the official haproxy image, where no image registry is in reach.
FROM python:3.11-slim
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends haproxy && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["haproxy"]
CMD ["-W", "-db", "-f", "/edge/haproxy.cfg"]
