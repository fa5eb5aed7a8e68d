"""The node's container engine, as far as one service's containers go."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import LogConfig, Mount
from urllib3.exceptions import HTTPError

from agent import gpus, volumes
from agent.failure import Interrupted, StepFailed
from agent.inspected import PREFIX, container_of, exit_reason
from agent.secrets import Secrets
from releases.registry_refusal import missing_right
from releases.release import Release
from releases.secret_reference import SecretReference
from releases.status import Phase
from releases.swap_memory import Container, Slot
from releases.volumes import MODEL_DIR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TAIL_LINES = 20
TAIL_WIDTH = 300
AWAY = (DockerException, OSError, HTTPError)  # HTTPError: a stream that breaks is no OSError
API_SECONDS = 60
PULL_SECONDS = 900
DOCKERS_GRACE = 10  # seconds, of a container that an earlier agent started
NO_ROOM = "no space left on device"
REFUSED = ("unauthorized", "denied", "Unauthenticated", "no basic auth credentials")


@dataclass(frozen=True)
class Addresses:
    """The two fixed addresses of a service on the node's network: bridge addresses are handed out again."""

    a: str
    b: str

    def of(self, slot: Slot) -> str:
        """The slot's address."""
        return self.a if slot is Slot.a else self.b


class Login(Protocol):
    """How a registry lets this node pull."""

    def of(self, image: str, *, refused: bool = False) -> dict[str, str] | None:
        """docker-py's auth_config, a fresh one if the last was refused. Raises OSError."""


class Engine:
    """docker-py, with our labels on everything."""

    def __init__(
        self, node: str, secrets: Secrets, models: Path, login: Login | None = None, gpu_driver: str = ""
    ) -> None:
        self.node = node
        self.network = node
        self.secrets = secrets
        self.models = models  # the host's path: what the engine mounts, it finds there
        self.login = login
        self.gpu_driver = gpu_driver  # the host's folder with it, where there is no NVIDIA container toolkit
        self.client = docker.from_env(timeout=API_SECONDS)
        self.api: Any = self.client.api  # its stubs are stricter than it is
        self.puller = docker.from_env(timeout=PULL_SECONDS)
        self.choosing_gpus = threading.Lock()
        self.before_removal: Callable[[str], None] = lambda _: None

    def subnet(self) -> str:
        """The first three numbers of the node's network, such as 172.31.7."""
        config = self.client.networks.get(self.network).attrs["IPAM"]["Config"][0]
        return str(config["Subnet"]).rsplit(".", 1)[0]

    def containers(self, service: str) -> tuple[Container, ...]:
        """Every container of the service, running or not."""
        labels = [f"{PREFIX}.node={self.node}", f"{PREFIX}.service={service}"]
        found = self.client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
        return tuple(container_of(one.attrs) for one in found)

    def comings_and_goings(self) -> "Iterator[str]":
        """The service of each container of this node that starts or ends; not of others on the engine."""
        labels = [f"{PREFIX}.node={self.node}", f"{PREFIX}.service"]
        filters = {"type": "container", "event": ["die", "start"], "label": labels}
        for event in self.client.events(decode=True, filters=filters):
            yield str(event["Actor"]["Attributes"][f"{PREFIX}.service"])

    def models_in_use(self) -> set[str]:
        """The models that any of the node's containers has mounted."""
        labels = [f"{PREFIX}.node={self.node}", f"{PREFIX}.model"]
        found = self.client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
        return {one.labels[f"{PREFIX}.model"] for one in found}

    def has_image(self, image: str) -> bool:
        """Whether the image is on the node."""
        try:
            self.client.images.get(image)
        except ImageNotFound:
            return False
        return True

    def ensure_image(self, image: str) -> None:
        """Have the image on the node. Raises StepFailed."""
        if not self.has_image(image):
            self.pull(image)

    def pull(self, image: str, interrupted: "Callable[[], bool]" = lambda: False) -> None:
        """Pull by digest. Raises StepFailed, Interrupted."""
        try:
            try:
                self._pull(image, interrupted, refused=False)
            except DockerException as error:
                if self.login is None or not any(word in _words(error) for word in REFUSED):
                    raise
                self._pull(image, interrupted, refused=True)
        except AWAY as error:
            raise StepFailed(
                Phase.pull,
                f"the image cannot be pulled: {_words(error)}",
                next_step=missing_right(_words(error), "(the VM's account)")[1] or f"docker pull {image}",
            ) from error

    def _pull(self, image: str, interrupted: "Callable[[], bool]", *, refused: bool) -> None:
        puller: Any = self.puller.api
        login = self.login.of(image, refused=refused) if self.login else None
        # `images.pull` would read over an error in the stream and complain of a missing image
        for line in puller.pull(image, stream=True, decode=True, auth_config=login):
            _raise_error(line)
            if interrupted():
                raise Interrupted  # hung up on, the engine ends the pull

    def remove_image(self, image: str) -> bool:
        """Remove an image; False while a container has it. One that is gone is fine."""
        try:
            self.client.images.remove(image)
        except ImageNotFound:
            return True
        except APIError:
            return False
        return True

    def start(self, release: Release, slot: Slot, address: str, generation: int) -> None:
        """Create and start. Raises StepFailed."""
        name = f"{self.node}-{release.service}-r{release.number}"
        try:
            self._remove_name(name)
            with self.choosing_gpus:
                created = self._create(name, release, slot, address, generation)
            self.api.start(created["Id"])
        except DockerException as error:
            raise StepFailed(
                Phase.start, f"the container does not start: {_words(error)}", next_step=f"docker logs {name}"
            ) from error

    def _create(self, name: str, release: Release, slot: Slot, address: str, generation: int) -> Any:
        return self.api.create_container(
            release.image,
            command=release.run.command or None,
            entrypoint=release.run.entrypoint or None,
            name=name,
            environment=self._environment(release),
            labels=self._labels(release, slot, generation),
            host_config=self._limits(release, self._gpus(release)),
            networking_config=self.api.create_networking_config(
                {self.network: self.api.create_endpoint_config(ipv4_address=address)}
            ),
            stop_timeout=round(release.run.stop_grace),
        )

    def _gpus(self, release: Release) -> tuple[int, ...]:
        """Those that no other service has; its own former copy is stopped before this one starts."""
        if not release.run.resources.gpus:
            return ()
        labels = [f"{PREFIX}.node={self.node}", f"{PREFIX}.service"]
        found = self.client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
        others = [one for one in found if one.labels[f"{PREFIX}.service"] != release.service]
        return gpus.free(release.run.resources.gpus, (one.attrs["HostConfig"] for one in others))

    def restart(self, container: Container) -> None:
        """Start a container that exists. Raises StepFailed."""
        try:
            self.api.start(container.id)
        except DockerException as error:
            raise StepFailed(Phase.start, f"the container does not start: {_words(error)}") from error

    def keep_up(self, container: Container) -> None:
        """Once confirmed, the engine itself brings the container back.

        Not `unless-stopped`: an engine that was killed stops those, and leaves them stopped (tried, 20.10).
        """
        self.api.update_container(container.id, restart_policy={"Name": "always"})

    def stop(self, container: Container) -> None:
        """Stop with its own release's time to finish; a container that is gone is fine."""
        try:
            self._let_down(container)
            grace = self.api.inspect_container(container.id)["Config"].get("StopTimeout", DOCKERS_GRACE)
            self.api.stop(container.id, timeout=grace)
        except NotFound:
            return

    def _let_down(self, container: Container) -> None:
        """The engine writes it down; what may have filled the disk is stopped all the same."""
        try:
            self.api.update_container(container.id, restart_policy={"Name": "no"})
        except APIError as error:
            if NO_ROOM not in _words(error):
                raise

    def remove(self, container: Container) -> None:
        """Stop and remove; a container that is gone is fine."""
        self.stop(container)
        self.before_removal(container.id)
        try:
            self.api.remove_container(container.id, v=True, force=True)
        except NotFound:
            return

    def changed_by_hand(self, container: Container, release: Release) -> str:
        """How the container differs from what we started; empty: not at all."""
        try:
            found = self.api.inspect_container(container.id)
        except NotFound:
            return ""
        host, given = found["HostConfig"], set(found["Config"]["Env"] or [])
        limits = self._limits(release)
        differs = {
            "image": found["Config"]["Image"] != release.image,
            "environment": not {f"{name}={value}" for name, value in release.run.env.items()} <= given,
            "memory": host["Memory"] != limits.get("Memory", 0),
            "cpus": host["NanoCpus"] != limits.get("NanoCpus", 0),
            "network": list(found["NetworkSettings"]["Networks"]) != [self.network],
            "privileged": host["Privileged"] != release.run.privileged,
            "entrypoint": _replaced(found["Config"]["Entrypoint"], release.run.entrypoint),
            "command": _replaced(found["Config"]["Cmd"], release.run.command),
            "volumes": volumes.mounted(host) != volumes.mounted(limits),
        }
        what = ", ".join(name for name, differs_so in differs.items() if differs_so)
        return f"somebody changed the container by hand: {what}" if what else ""

    def exit_reason(self, container_id: str) -> str | None:
        """Why it is not running; None while it is."""
        try:
            return exit_reason(self.api.inspect_container(container_id)["State"])
        except NotFound:
            return "the container is gone"

    def log_tail(self, container_id: str) -> tuple[str, ...]:
        """The last lines it wrote, each cut to a bearable width."""
        try:
            raw = self.api.logs(container_id, tail=TAIL_LINES)
        except DockerException:
            return ()
        return tuple(line[:TAIL_WIDTH] for line in raw.decode(errors="replace").splitlines())

    def _environment(self, release: Release) -> dict[str, str]:
        own = {
            "RELEASE": str(release.number),
            "ENVIRONMENT": release.environment,
            "MODEL_NAME": release.model.name if release.model else "",
            "MODEL_VERSION": release.model.version if release.model else "",
            "MODEL_SHA256": release.model_sha256,
            "MODEL_DIR": MODEL_DIR if release.model_sha256 else "",
        }
        secrets = {variable: self._secret(name) for variable, name in release.run.secrets.items()}
        return {**{name: value for name, value in own.items() if value}, **release.run.env, **secrets}

    def _secret(self, text: str) -> str:
        reference = SecretReference.parse(text)
        if reference is None:
            expected = "NAME or NAME/versions/NUMBER"
            raise StepFailed(Phase.start, f"{text!r} names no secret", next_step=f"run.secrets: {expected}")
        return self.secrets.read(reference)

    def _labels(self, release: Release, slot: Slot, generation: int) -> dict[str, str]:
        values = {
            "node": self.node,
            "service": release.service,
            "environment": release.environment,
            "release": str(release.number),
            "fingerprint": release.fingerprint,
            "generation": str(generation),
            "slot": str(slot),
            "model": release.model_sha256,
            "model-version": release.model.version if release.model else "",
        }
        return {f"{PREFIX}.{name}": value for name, value in values.items() if value}

    def _limits(self, release: Release, numbers: tuple[int, ...] = ()) -> Any:
        run = release.run
        rotation = {"max-size": run.logs.max_size, "max-file": str(run.logs.max_file)}
        return self.api.create_host_config(
            binds=volumes.binds(run.volumes),
            init=True,  # a PID 1 that ignores SIGTERM would cost the whole grace
            log_config=LogConfig(type=LogConfig.types.JSON, config=rotation),
            mem_limit=run.resources.memory,
            mounts=self._mounts(release),
            privileged=run.privileged,
            nano_cpus=round(run.resources.cpus * 1e9) if run.resources.cpus else None,
            restart_policy={"Name": "no"},  # a crash on trial is a verdict
            **gpus.requested(numbers, self.gpu_driver),
        )

    def _mounts(self, release: Release) -> list[Mount]:
        """As `mounts`, not `binds`: a folder that is missing is an error, not made anew and empty."""
        found = gpus.mounts(release.run.resources.gpus, self.gpu_driver)
        found += volumes.mounts(release.run.volumes, self.node)
        if release.model_sha256:
            folder = str(self.models / release.model_sha256)
            found.append(Mount(target=MODEL_DIR, source=folder, type="bind", read_only=True))
        return found

    def _remove_name(self, name: str) -> None:
        """A container left by an agent that was killed between create and start."""
        try:
            self.api.remove_container(name, force=True)
        except NotFound:
            return


def _replaced(has: list[str] | None, said: list[str]) -> bool:
    """Whether it is not what was said; unsaid, the image's own counts."""
    return bool(said) and has != said


def _words(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error)[:400]


def _raise_error(line: dict[str, str]) -> None:
    """What a pull's stream says went wrong."""
    if "error" in line:
        raise DockerException(line["error"])
