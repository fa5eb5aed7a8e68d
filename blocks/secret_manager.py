"""Secrets in Secret Manager, in the name of the worker that runs the flows."""

import base64
from collections.abc import Callable, Collection
from functools import cached_property

from blocks.google_api import GoogleApi
from blocks.provisioning.google_rest import GoogleRest
from releases.problem import Failed, Problem
from releases.secret_reference import LATEST, SecretReference

API = "secretmanager"
ACCESSOR, ADDER, MANAGER = (
    f"roles/secretmanager.{role}" for role in ("secretAccessor", "secretVersionAdder", "secretVersionManager")
)


class SecretManager:
    """Methods access, addVersion, list and destroy of https://cloud.google.com/secret-manager/docs/reference/rest."""

    def __init__(self, api: GoogleApi, project: str, endpoint: str | None = None) -> None:
        self.api = api
        self.project = project
        self.endpoint = endpoint

    def read(self, name: str) -> str | None:
        """The latest version. Raises Problem."""
        return self._version(name, LATEST)

    def add(self, name: str, value: str) -> None:
        """Add a version; sent again after a lost answer it is there twice, which changes nothing."""
        path = f"/v1/projects/{self.project}/secrets/{name}:addVersion"
        data = base64.b64encode(value.encode()).decode()
        try:
            self._rest.send("POST", f"write the secret {name}", API, path, {"payload": {"data": data}})
        except Problem as problem:
            raise self._granting(problem, name, ADDER) from problem

    def once(self, name: str, value: str) -> str:
        """Version 1, whoever wrote it: of two writers one was first, and both go on with that one's."""
        first = self._version(name, "1")
        if first is None:
            self.add(name, value)
            first = self._version(name, "1")
        if first is None:
            raise Failed(f"version 1 of the secret {name} is gone", where=self.project)
        return first

    def destroy_old(self, name: str, spare: Collection[str], useless: Callable[[str], bool]) -> int:
        """Versions are paid for until they are destroyed: https://cloud.google.com/secret-manager/pricing.

        The list begins with the newest; what is disabled is somebody else's decision.
        """
        what, path = f"look up the versions of {name}", f"/v1/projects/{self.project}/secrets/{name}/versions"
        found = self._rest.get(what, API, path, filter="state:ENABLED") or {}
        versions = {int(one["name"].rpartition("/")[2]): one["etag"] for one in found.get("versions", [])}
        old = sorted(versions)[:-1]
        gone = [one for one in old if str(one) not in spare and useless(self._version(name, str(one)) or "")]
        for one in gone:
            try:
                body = {"etag": versions[one]}
                self._rest.send(
                    "POST", f"destroy version {one} of {name}", API, f"{path}/{one}:destroy", body
                )
            except Problem as problem:
                raise self._granting(problem, name, MANAGER) from problem
        return len(gone)

    def _version(self, name: str, version: str) -> str | None:
        """None where there is no such secret or version."""
        path = SecretReference(name, version).path(self.project)
        try:
            found = self._rest.get(f"read the secret {name}", API, f"/v1/{path}:access")
        except Problem as problem:
            raise self._granting(problem, name, ACCESSOR) from problem
        return None if found is None else base64.b64decode(found["payload"]["data"]).decode()

    def _granting(self, problem: Problem, name: str, role: str) -> Problem:
        """What helps where it is not there or a right to it is missing: Google does not say which."""
        provision = "name it under `cloud.certificates`, then: model-deploy provision"
        if problem.what.endswith("not found"):
            problem.next_step = provision
        if problem.expected.startswith("the permission "):
            problem.next_step = (
                f"{provision}; or: gcloud secrets add-iam-policy-binding {name} --project={self.project} "
                f"--member=(the worker's account) --role={role}"
            )
        return problem

    @cached_property
    def _rest(self) -> GoogleRest:
        return GoogleRest(self.api.google_credentials, self.endpoint, self.project)
