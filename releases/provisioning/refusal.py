"""Google's refusals as Problems: which resource, which permission is missing, and the command that helps."""

import re
import shlex

from releases.problem import Failed, Problem, Refused, Unreachable
from releases.provisioning.wanted import Json

PERMISSION = re.compile(
    r"(?<![.\w])((?:compute|storage|iam|artifactregistry|secretmanager|serviceusage|resourcemanager|logging)"
    r"(?:\.[a-zA-Z]+){2})\b"
)
# The narrowest predefined role with the permission, by how the permission begins; the first that fits.
ROLES = {
    "compute.firewalls.": "roles/compute.securityAdmin",
    "compute.subnetworks.": "roles/compute.networkAdmin",
    "compute.": "roles/compute.instanceAdmin.v1",
    "storage.": "roles/storage.admin",
    "iam.serviceAccounts.actAs": "roles/iam.serviceAccountUser",
    "iam.serviceAccounts.": "roles/iam.serviceAccountAdmin",
    "iam.roles.": "roles/iam.roleAdmin",
    "iam.workloadIdentityPool": "roles/iam.workloadIdentityPoolAdmin",
    "artifactregistry.": "roles/artifactregistry.admin",
    "secretmanager.versions.access": "roles/secretmanager.secretAccessor",
    "secretmanager.versions.add": "roles/secretmanager.secretVersionAdder",
    "secretmanager.versions.destroy": "roles/secretmanager.secretVersionManager",
    "secretmanager.": "roles/secretmanager.admin",
    "serviceusage.": "roles/serviceusage.serviceUsageAdmin",
    "resourcemanager.": "roles/resourcemanager.projectIamAdmin",
    "logging.logEntries.list": "roles/logging.viewer",
}
MYSELF = "user:$(gcloud config get account)"
OFF = {"SERVICE_DISABLED", "accessNotConfigured"}


def refusal(what: str, project: str, caller: str, status: int, error: Json) -> Problem:
    """The problem that an answer of 400 and above is. `caller` is the account asked with, if known."""
    message = str(error.get("message", "")) or f"HTTP {status}"
    reason = reason_of(error)
    if status in {429, 500, 502, 503, 504}:
        return Unreachable(
            f"{what}: Google does not answer", got=message, next_step="the same command again, later"
        )
    if status == 401:  # noqa: PLR2004 - unauthenticated
        return Refused(
            f"{what}: the credentials are not valid",
            got=message,
            next_step="gcloud auth application-default login",
        )
    if reason in OFF:
        api = _disabled_api(message)
        return Refused(
            f"{what}: the API is off",
            got=message,
            next_step=shlex.join(["gcloud", "services", "enable", api, f"--project={project}"]),
        )
    if "quota" in reason.lower() or "QUOTA" in message:
        return Refused(
            f"{what}: a quota is used up",
            got=message,
            next_step=f"gcloud compute project-info describe --project={project}  (and ask for more)",
        )
    if status == 403:  # noqa: PLR2004 - forbidden
        return _forbidden(what, project, caller, message, error)
    return Failed(f"{what}: refused with {status}", got=message)


def reason_of(error: Json) -> str:
    """Google's word for it: of the newer APIs' details, else of the older ones' list."""
    for detail in error.get("details") or []:
        if "reason" in detail:
            return str(detail["reason"])
    older = error.get("errors") or [{}]
    return str(older[0].get("reason", ""))


def missing_permission(error: Json) -> str:
    """The permission that the answer names, if it does."""
    for detail in error.get("details") or []:
        named = (detail.get("metadata") or {}).get("permission")
        if named:
            return str(named)
    match = PERMISSION.search(str(error.get("message", "")))
    return match[1] if match else ""


def _forbidden(what: str, project: str, caller: str, message: str, error: Json) -> Problem:
    permission = missing_permission(error)
    role = next((role for start, role in ROLES.items() if permission.startswith(start)), "")
    if not role:
        return Refused(f"{what}: not allowed", got=message)
    # The shell fills in who the reader is, so it must not be quoted away.
    member = shlex.quote(f"serviceAccount:{caller}") if caller else f'"{MYSELF}"'
    grant = (
        f"gcloud projects add-iam-policy-binding {project} --member={member} --role={role} --condition=None"
    )
    return Refused(
        f"{what}: not allowed", expected=f"the permission {permission}", got=message, next_step=grant
    )


def _disabled_api(message: str) -> str:
    match = re.search(r"\b([a-z]+\.googleapis\.com)\b", message)
    return match[1] if match else "compute.googleapis.com"
