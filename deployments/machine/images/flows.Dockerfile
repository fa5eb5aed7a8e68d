# The project itself: scheduled runs get a container of it each; deployments/compose.yaml runs everything on it.
ARG BASE=python:3.11-slim
FROM ${BASE} AS build
WORKDIR /opt/model-deploy
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache \
    python -m venv /opt/uv \
    && /opt/uv/bin/pip install --disable-pip-version-check "uv>=0.9,<1" \
    && /opt/uv/bin/uv sync --frozen --no-dev --no-install-project --link-mode copy --compile-bytecode

FROM ${BASE}
SHELL ["/bin/sh", "-eu", "-c"]
# Debian 13 has the client apart from the engine, Debian 12 has not.
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends git openssh-client procps \
    && (apt-get install -y -qq --no-install-recommends docker-cli docker-buildx \
        || apt-get install -y -qq --no-install-recommends docker.io) \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/model-deploy
COPY --from=build /opt/model-deploy/.venv .venv
COPY . .
RUN --mount=type=cache,target=/root/.cache --mount=type=bind,from=build,source=/opt/uv,target=/opt/uv \
    /opt/uv/bin/uv sync --frozen --no-dev --link-mode copy
ENV PATH=/opt/model-deploy/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
CMD ["model-deploy", "--help"]
