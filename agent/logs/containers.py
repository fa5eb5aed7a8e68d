"""Which containers a node follows, and whose they are."""

from typing import Any

from docker.errors import DockerException, NotFound

from agent.engine import Engine
from agent.inspected import PREFIX
from releases.log_segment import Origin


class Containers:
    """The node's service containers; each is inspected once."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.known: dict[str, Origin] = {}

    def __call__(self) -> dict[str, Origin]:
        """By id. Raises OSError where the engine does not answer: it is asked again."""
        try:
            return self._ask()
        except DockerException as error:
            raise OSError(f"the engine does not answer: {error}") from error

    def _ask(self) -> dict[str, Origin]:
        labels = [f"{PREFIX}.node={self.engine.node}", f"{PREFIX}.service"]
        found = [one["Id"] for one in self.engine.api.containers(all=True, filters={"label": labels})]
        for container in set(found) - set(self.known):
            try:
                attrs = self.engine.api.inspect_container(container)
            except NotFound:
                continue
            self.known[container] = _origin(self.engine.node, attrs)
        self.known = {container: self.known[container] for container in found if container in self.known}
        return self.known


def _origin(node: str, attrs: dict[str, Any]) -> Origin:
    labels = attrs["Config"]["Labels"]
    environment, model_version = _told(attrs["Config"])
    return Origin(
        service=labels[f"{PREFIX}.service"],
        environment=environment,
        node=node,
        container=attrs["Id"],
        release=int(labels.get(f"{PREFIX}.release", "0")),
        model_version=model_version,
        log_files=_log_files(attrs),
    )


def _told(config: dict[str, Any]) -> tuple[str, str]:
    """Environment and model version: of what an older agent started only the variables say them.

    A service may set those otherwise for itself; so they are asked only there.
    """
    labels = config["Labels"]
    if f"{PREFIX}.environment" in labels:
        return labels[f"{PREFIX}.environment"], labels.get(f"{PREFIX}.model-version", "")
    variables = dict(line.partition("=")[::2] for line in config.get("Env") or [])
    return variables.get("ENVIRONMENT", "unknown"), variables.get("MODEL_VERSION", "")


def _log_files(attrs: dict[str, Any]) -> int:
    """One where the engine is not told: the json-file driver then never rotates."""
    config = (attrs["HostConfig"].get("LogConfig") or {}).get("Config") or {}
    return int(config.get("max-file", "1"))
