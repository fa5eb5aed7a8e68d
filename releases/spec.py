"""`model-deploy.yaml`: what a service's repository says about itself. Every field has a default."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from releases.duration import DAY, Duration
from releases.model_version import is_alias, is_version
from releases.problem import BadInput
from releases.rollout import Rollout
from releases.size import Size
from releases.volumes import Volume
from releases.volumes import check as check_volumes

Name = Annotated[
    str,
    Field(
        pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$",
        description="Lower-case letters, digits and dashes.",
    ),
]
Seconds = Annotated[Duration, Field(gt=0, le=DAY)]
Memory = Annotated[Size, Field(description="For example 512m or 2g.")]
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
HostName = Annotated[
    str,
    Field(
        pattern=rf"^{_LABEL}(\.{_LABEL})*$",
        max_length=253,
        description="Lower-case, without a port, such as iris.example.com.",
    ),
]


def is_unsaid(value: object) -> bool:
    """For fields younger than the record of releases: left out, they change no fingerprint from before."""
    return not value


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)


class Build(_Section):
    """How the image is built."""

    dockerfile: str = Field("Dockerfile", description="Path from the service's folder.")
    target: str | None = Field(None, description="Stage to build; the last one if not given.")
    args: dict[str, str] = Field(default_factory=dict, description="Build arguments; never secrets.")
    platform: str | None = Field(None, description="For example linux/amd64; the engine's own if not given.")
    timeout: Seconds = Field(1800, description="Seconds the build may take.")


class Tests(_Section):
    """How the service is tested before anything is pushed."""

    target: str | None = Field(None, description="Stage that runs the tests; none: no tests are run.")
    command: list[str] = Field(default_factory=list, description="Instead of the stage's own CMD.")
    junit: str = Field("/reports/junit.xml", description="Where in the container the JUnit report appears.")
    timeout: Seconds = Field(900, description="Seconds the tests may take.")


class Health(_Section):
    """When a container counts as ready."""

    path: str | None = Field(None, description="Answers 2xx when ready; none: a TCP connection counts.")
    timeout: Seconds = Field(
        60, description="Seconds from start to ready, loading the model and warming up included."
    )


class Warmup(_Section):
    """A request that must be answered with 2xx before the container counts as ready; 5xx is asked again."""

    method: str = "POST"
    path: str = "/predict"
    json_body: Any = Field(None, alias="json")
    times: int = Field(1, ge=1, le=1000)


# Whether the old and the new container run side by side for a moment.
Swap = Literal["overlap", "replace"]


class Resources(_Section):
    """Limits of one container."""

    memory: Memory | None = None
    cpus: float | None = Field(None, gt=0, le=1024)
    gpus: int | None = Field(
        None, ge=1, le=16, exclude_if=is_unsaid, description="As docker run --gpus; needs swap: replace."
    )


class Logs(_Section):
    """Rotation of the container's log files."""

    max_size: Memory = "10m"
    max_file: int = Field(5, ge=1, le=100)


class Limits(_Section):
    """What the edge enforces for every request."""

    request_timeout: Seconds = Field(60, description="Seconds the service may take to answer.")
    max_body: Memory | None = Field(
        None, description="Largest request body, and each must say its length; none: no limit."
    )


class Hosts(_Section):
    """How users of one environment reach the service by name, at a port that services share."""

    names: list[HostName] = Field(min_length=1, description="The service answers to these, and to no other.")
    certificate: str = Field(
        "",
        pattern=r"^([A-Za-z0-9_-]{1,255}(/versions/([0-9]+|latest))?)?$",
        description="TLS ends at the edge: a secret of the environment, the chain and its key as PEM.",
    )
    acme: bool = Field(
        False,
        exclude_if=is_unsaid,
        description="Its certificate is fetched and renewed by ACME, as the environment's `acme` says.",
    )

    @model_validator(mode="after")
    def _newest_version(self) -> Self:
        if self.acme and "/" in self.certificate:
            raise ValueError("with acme a certificate is always its secret's latest version; name no other")
        return self


class Run(_Section):
    """How the container runs on a node."""

    port: int | None = Field(None, ge=1, le=65535, description="The image's EXPOSE if not given.")
    public_port: int | None = Field(
        None, ge=1, le=65535, description="The edge's next free port if not given."
    )
    hosts: dict[Name, Hosts] = Field(
        default_factory=dict,
        exclude_if=is_unsaid,
        description="Environment → host names; elsewhere the service has a port of its own.",
    )
    health: Health = Field(default_factory=Health)
    warmup: Warmup | None = None
    entrypoint: list[str] = Field(
        default_factory=list,
        exclude_if=is_unsaid,
        description="Instead of the image's own; its CMD goes too.",
    )
    command: list[str] = Field(
        default_factory=list, exclude_if=is_unsaid, description="Instead of the image's own CMD."
    )
    privileged: bool = Field(
        False,
        exclude_if=is_unsaid,
        description="All rights on the node: whoever takes over the service has the VM and its identity.",
    )
    volumes: list[Volume] = Field(
        default_factory=list,
        exclude_if=is_unsaid,
        description="What is kept outside the container. With swap: overlap two copies have it for a moment.",
    )
    env: dict[str, str] = Field(default_factory=dict)
    secrets: dict[str, str] = Field(
        default_factory=dict, description="Environment variable → name of a secret of the environment."
    )
    resources: Resources = Field(default_factory=Resources)
    drain: Seconds = Field(30, description="Seconds the old container may finish its requests in.")
    stop_grace: Seconds = Field(10, description="Seconds between SIGTERM and SIGKILL.")
    swap: Swap = Field("overlap", description="replace: stop the old one first (downtime), for one GPU.")
    logs: Logs = Field(default_factory=Logs)
    limits: Limits = Field(default_factory=Limits)

    def certificate(self, environment: str) -> str:
        """The secret with the certificate for these names; empty: no TLS at the edge."""
        return self.hosts[environment].certificate if environment in self.hosts else ""

    def fetched(self, environment: str) -> bool:
        """Whether the certificate there comes by ACME."""
        return environment in self.hosts and self.hosts[environment].acme

    def naming_secrets(self, service: str) -> Self:
        """With a secret named for each certificate that comes by ACME, where the spec names none."""
        named = {
            environment: one.model_copy(update={"certificate": f"{environment}-{service}-tls"})
            for environment, one in self.hosts.items()
            if one.acme and not one.certificate
        }
        return self.model_copy(update={"hosts": {**self.hosts, **named}}) if named else self

    @field_validator("volumes", mode="after")
    @classmethod
    def _volumes_fit(cls, volumes: list[Volume], info: ValidationInfo) -> list[Volume]:
        check_volumes(volumes, privileged=bool(info.data.get("privileged")))
        return volumes

    @model_validator(mode="after")
    def _one_copy_on_a_gpu(self) -> Self:
        """The engine hands every container the same first GPUs: the old and the new one would share them."""
        if self.resources.gpus and self.swap == "overlap":
            raise ValueError(
                "with resources.gpus write swap: replace: the old and the new copy would be on the same GPU; "
                "it costs the downtime of a start"
            )
        return self

    def names(self, environment: str) -> tuple[str, ...]:
        """What the service is called in the environment; empty: it has a port of its own."""
        return tuple(self.hosts[environment].names) if environment in self.hosts else ()


class Expect(_Section):
    """What the answer to a smoke check must be."""

    status: int = Field(200, ge=100, le=599)
    json_body: Any = Field(None, alias="json", description="Must be contained in the answer's JSON.")
    json_schema: dict[str, Any] | None = Field(None, description="The answer must fit this JSON schema.")
    headers: dict[str, str] = Field(default_factory=dict, description="Headers with exactly these values.")
    p95: Seconds | None = Field(None, description="Latency budget in seconds over `requests` requests.")


class SmokeCheck(_Section):
    """One request from outside, through the edge, and what must come back."""

    name: str | None = None
    method: str = "GET"
    path: str = "/"
    headers: dict[str, str] = Field(default_factory=dict)
    json_body: Any = Field(None, alias="json")
    expect: Expect = Field(default_factory=Expect)
    requests: int = Field(1, ge=1, le=10_000, description="How often; the latency budget is over these.")
    attempts: int = Field(1, ge=1, le=10, description="A failed check is tried this often in all.")
    timeout: Seconds = Field(10, description="Seconds one request may take.")

    @property
    def title(self) -> str:
        """How reports call this check."""
        return self.name or f"{self.method} {self.path}"


class Model(_Section):
    """Which model the service answers with."""

    name: Name
    version: str = Field(description="v1, v1.1, v2, … or an alias, such as production.")

    @field_validator("version", mode="after")
    @classmethod
    def _version_or_alias(cls, text: str) -> str:
        if not is_version(text) and not is_alias(text):
            raise ValueError("a version (v1, v1.1, v2, …) or an alias (lower-case letters, digits, dashes)")
        return text

    @classmethod
    def parse(cls, text: str) -> "Model":
        """Read what a person types: NAME=VERSION or NAME=ALIAS. Raises BadInput."""
        name, _, version = text.partition("=")
        try:
            return cls(name=name, version=version)
        except ValidationError as error:
            raise BadInput(
                "this names no model",
                expected="NAME=VERSION, for example iris=v1.1 or iris=production",
                got=text,
            ) from error

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Confirm(_Section):
    """How long the new release is watched before it is confirmed."""

    bake: Duration = Field(
        0,
        ge=0,
        le=DAY,
        description="Seconds between the switch and the confirmation; may be longer than the window.",
    )
    window: Seconds = Field(
        120, description="Unconfirmed this long after a switch, the node reverts by itself."
    )


class ServiceSpec(_Section):
    """The whole of `model-deploy.yaml`."""

    name: Name | None = Field(None, description="The folder's name if not given.")
    build: Build = Field(default_factory=Build)
    test: Tests = Field(default_factory=Tests)
    run: Run = Field(default_factory=Run)
    smoke: list[SmokeCheck] = Field(default_factory=list)
    model: Model | None = None
    confirm: Confirm = Field(default_factory=Confirm)
    rollout: Rollout | None = Field(None, description="Canary: none means all traffic at once.")

    @property
    def confirm_window(self) -> float:
        """Seconds that the node waits for a confirmation, or a change of traffic.

        A canary's step is held once, and once more where that says too little; a person has the rest.
        """
        return self.confirm.window + (2 * self.rollout.hold if self.rollout else 0)

    @field_validator("rollout", mode="after")
    @classmethod
    def _side_by_side(cls, rollout: Rollout | None, info: ValidationInfo) -> Rollout | None:
        run = info.data.get("run")
        if rollout is not None and isinstance(run, Run) and run.swap == "replace":
            raise ValueError("a canary needs the old and the new side by side: not with run.swap: replace")
        return rollout

    @field_validator("smoke", mode="after")
    @classmethod
    def _titles_differ(cls, checks: list[SmokeCheck]) -> list[SmokeCheck]:
        titles = [check.title for check in checks]
        twice = sorted({title for title in titles if titles.count(title) > 1})
        if twice:
            raise ValueError(f"two smoke checks are called {twice[0]!r}; give each a name of its own")
        return checks
