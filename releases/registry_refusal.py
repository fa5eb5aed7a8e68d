"""What Artifact Registry refuses: the permission that is missing, and the command that gives it."""

import re

# As it says since it exists: Permission "artifactregistry.repositories.downloadArtifacts" denied on resource
# "projects/P/locations/L/repositories/R" (or it may not exist). An engine may escape the quotes.
_REFUSAL = re.compile(
    r"ermission \\?\"(artifactregistry\.[.\w]+)\\?\"[^\"\\]* on resource "
    r"\\?\"projects/([^/\"\\]+)/locations/([^/\"\\]+)/repositories/([^/\"\\]+)\\?\""
)
_ROLES = {"downloadArtifacts": "reader", "uploadArtifacts": "writer", "deleteArtifacts": "repoAdmin"}


def missing_right(said: str, member: str) -> tuple[str, str]:
    """The permission and the command; both empty where the answer names none."""
    match = _REFUSAL.search(said)
    if not match:
        return "", ""
    permission, project, location, repository = match.groups()
    role = f"roles/artifactregistry.{_ROLES.get(permission.rpartition('.')[2], 'admin')}"
    grant = f"gcloud artifacts repositories add-iam-policy-binding {repository}"
    return permission, f"{grant} --project={project} --location={location} --member={member} --role={role}"
