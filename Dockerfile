ARG BASE=python:3.11-slim

FROM ${BASE} AS build
WORKDIR /app
RUN python -m venv --without-pip /opt/venv
COPY serving/requirements.txt serving/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --requirement serving/requirements.txt

FROM build AS test
COPY tests/serving/requirements.txt tests/serving/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --requirement tests/serving/requirements.txt \
    && useradd --system --uid 10001 app \
    && install --directory --owner=app /reports
COPY serving serving
COPY tests/serving tests/serving
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1
USER 10001
CMD ["python", "-m", "pytest", "tests/serving", "--import-mode=importlib", "-p", "no:cacheprovider", "--junitxml=/reports/junit.xml"]

FROM ${BASE} AS serving
WORKDIR /app
# What serves installs nothing: the base's own pip would serve only who has broken in.
RUN useradd --system --uid 10001 app \
    && find /usr \( -path '*/bin/pip*' -o -path '*-packages/pip*' -o -name ensurepip -o -name python-wheels \) \
        -prune -exec rm -r {} +
COPY --from=build /opt/venv /opt/venv
COPY serving serving
# ONNX Runtime reports its use to its makers unless it is told not to.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["uvicorn", "serving.app:app", "--host", "0.0.0.0", "--port", "8000"]
# These differ with every commit: they come last, so that all layers above stay cached.
ARG REVISION=unknown
ARG VERSION=0.0.0
ARG SOURCE=unknown
ARG CREATED=unknown
ENV REVISION=$REVISION
LABEL org.opencontainers.image.title="iris" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.source=$SOURCE \
      org.opencontainers.image.created=$CREATED
