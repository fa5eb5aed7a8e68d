"""Any OCI registry, through the engine on this machine."""

import time
from contextlib import suppress
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from docker.errors import NotFound as NoSuchImage
from prefect.blocks.core import Block
from prefect_docker import DockerRegistryCredentials
from pydantic import Field
from urllib3.exceptions import HTTPError

from blocks.google_api import GoogleApi, said_plainly
from blocks.light_block import LightBlock
from blocks.registry_answers import is_denied
from releases.problem import Failed, Problem, Refused, Unreachable
from releases.registry_refusal import missing_right

PUSH_SECONDS = 900
PUSH_ATTEMPTS = 4
FIRST_PAUSE = 0.5
TOKEN_USER = "oauth2accesstoken"  # noqa: S105 - what Google's registries call every token's user
CLEANS_UP = ".pkg.dev/"  # Artifact Registry, by the policies in releases/provisioning/resources.py
# What asking the engine ends in: its own refusal, no answer in time, an answer that breaks off.
NO_ANSWER = (DockerException, OSError, HTTPError)


class ImageRegistry(LightBlock, Block):
    """Where an environment's images are kept: Docker Hub, Artifact Registry, or one on this machine."""

    _block_type_name = "Image Registry"
    _block_type_slug = "image-registry"

    prefix: str
    credentials: DockerRegistryCredentials | None = None
    google: GoogleApi | None = Field(
        None, description="Artifact Registry: whose tokens log in; {} for those of the flow's machine."
    )

    def repository(self, service: str) -> str:
        """The service's repository."""
        return f"{self.prefix}/{service}"

    def find(self, repository: str, tag: str) -> str | None:
        """What a tag or digest leads to, pinned; None if there is none. Raises Unreachable, Failed."""
        name = f"{repository}@{tag}" if tag.startswith("sha256:") else f"{repository}:{tag}"
        try:
            data = self._client().images.get_registry_data(name, auth_config=self._login())
        except (NoSuchImage, ImageNotFound):
            return None
        except APIError as error:
            if any(word in str(error).lower() for word in ("not found", "manifest unknown", "name unknown")):
                return None
            raise self._not_had("the registry does not answer", str(error)) from error
        except NO_ANSWER as error:
            raise self._not_had("the registry does not answer", str(error)) from error
        return f"{repository}@{data.id}"

    def require(self, image: str) -> None:
        """See that a pinned image is still there, without pulling it. Raises Refused, Unreachable, Failed."""
        repository, _, digest = image.rpartition("@")
        if self.find(repository, digest) is None:
            raise Refused(
                "the image is no longer in the registry",
                where=repository,
                expected=digest,
                next_step="release its commit again: model-deploy release --ref COMMIT",
            )

    def push(self, local: str, repository: str, tags: list[str]) -> str:
        """Push under every tag; returns repository@digest. Retried where that can help. Raises Failed.

        The tags here are then taken away: what a node keeps, it keeps by digest, and removes by itself.
        """
        api, digest = self._client().api, ""
        for tag in tags:
            try:
                api.tag(local, repository, tag, force=True)
            except NO_ANSWER as error:
                where, got = f"{repository}:{tag}", str(error)[:300]
                raise Failed(f"{local} cannot be tagged", where=where, got=got) from error
            digest = self._push(repository, tag)
        for tag in tags:
            with suppress(*NO_ANSWER):  # gone already, or it stays
                api.remove_image(f"{repository}:{tag}", noprune=True)
        return f"{repository}@{digest}"

    def keep(self, image: str, tag: str) -> None:
        """Tag what is released, where a clean-up would take it in the end. Raises Failed, Unreachable."""
        if CLEANS_UP in image:
            self.pull(image)
            self.push(image, image.partition("@")[0], [tag])

    def bring(self, image: str, source: "ImageRegistry", repository: str, tags: list[str]) -> str:
        """Have the other registry's image here, pinned to the same digest. Raises Failed, Unreachable."""
        digest = image.rpartition("@")[2]
        if image.startswith(f"{self.prefix}/"):
            return image
        source.pull(image)
        copied = self.push(image, repository, tags)
        if copied.rpartition("@")[2] != digest:
            raise Failed(
                "the image has another digest in the other registry",
                where=self.prefix,
                expected=digest,
                got=copied,
                next_step=f"docker buildx imagetools create -t {repository}:{tags[0]} {image}",
            )
        return copied

    def _push(self, repository: str, tag: str) -> str:
        pause, got = FIRST_PAUSE, ""
        for attempt in range(PUSH_ATTEMPTS):
            if attempt:
                time.sleep(pause)
                pause *= 2
            digest, got = self._push_once(repository, tag)
            if digest:
                return digest
            if is_denied(got):
                what = f"the registry refuses the push of {repository}:{tag}"
                raise self._refusal(what, "credentials that may push", got)
        raise Unreachable(
            f"{repository}:{tag} cannot be pushed", got=f"{PUSH_ATTEMPTS} attempts; {got[:300]}"
        )

    def _push_once(self, repository: str, tag: str) -> tuple[str, str]:
        """The digest, or what went wrong. The login is made anew: a build may outlive a token."""
        digest, problem = "", ""
        try:
            client = self._client(PUSH_SECONDS)
            lines: Any = client.images.push(
                repository, tag, stream=True, decode=True, auth_config=self._login()
            )
            for line in lines:
                problem = line.get("error", problem)
                digest = line.get("aux", {}).get("Digest", digest)
        except NO_ANSWER as error:
            problem = str(error)
        return ("", problem) if problem else (digest, "the registry named no digest")

    def have(self, image: str) -> None:
        """Pull the image unless it is on this machine. Raises Unreachable, Failed."""
        try:
            self._client().images.get(image)
        except NoSuchImage:
            self.pull(image)
        except NO_ANSWER as error:
            raise self._not_had(f"{image} cannot be looked for", str(error)) from error

    def label(self, image: str, name: str) -> str:
        """A label of the image, pulled unless it is here; empty: none. Raises Unreachable, Failed."""
        self.have(image)
        try:
            return str(self._client().images.get(image).labels.get(name, ""))
        except NO_ANSWER as error:
            raise self._not_had(f"{image} cannot be looked at", str(error)) from error

    def pull(self, image: str) -> None:
        """Have the image on this machine. Raises Unreachable, Failed where the login is refused."""
        api: Any = self._client(PUSH_SECONDS).api
        try:
            # `images.pull` would read over an error in the stream
            for line in api.pull(image, stream=True, decode=True, auth_config=self._login()):
                _raise_error(line)
        except NO_ANSWER as error:
            raise self._not_had(f"{image} cannot be pulled", str(error)) from error

    def _not_had(self, what: str, said: str) -> Problem:
        """Unreachable, which may pass; Failed where the login is refused."""
        if is_denied(said):
            return self._refusal("the registry refuses us", "credentials that may read", said)
        return Unreachable(what, where=self.prefix, got=said[:300])

    def _refusal(self, what: str, expected: str, said: str) -> Failed:
        permission, grant = missing_right(said, "MEMBER")
        hint = grant or "check the credentials of the environment's Image Registry block"
        expected = f"the permission {permission}" if permission else expected
        return Failed(what, where=self.prefix, expected=expected, got=said[:400], next_step=hint)

    def _login(self) -> dict[str, str] | None:
        if self.google is not None:
            return {"username": TOKEN_USER, "password": self._token(self.google)}
        if self.credentials is None:
            return None
        return {
            "username": self.credentials.username,
            "password": self.credentials.password.get_secret_value(),
        }

    def _token(self, google: GoogleApi) -> str:
        """One with its whole life before it: a push that takes long must not outlive it."""
        from google.auth.transport.requests import Request  # noqa: PLC0415 - cloud environments only

        with said_plainly("get a token for the registry", self.prefix):
            google.google_credentials.refresh(Request())  # type: ignore[no-untyped-call]
        return str(google.google_credentials.token)

    def _client(self, timeout: int = 60) -> docker.DockerClient:
        try:
            return docker.from_env(timeout=timeout)
        except DockerException as error:
            raise Unreachable(
                "the container engine does not answer", next_step="model-deploy doctor"
            ) from error


def _raise_error(line: dict[str, str]) -> None:
    """What a pull's stream says went wrong."""
    if "error" in line:
        raise DockerException(line["error"])
