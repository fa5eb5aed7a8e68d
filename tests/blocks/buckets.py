"""A bucket of the sandbox as a store."""

from pathlib import Path

from blocks.cloud_storage import CloudStorage
from tests.sandbox.conftest import Cloud


def cloud_store(cloud: Cloud, folder: Path, *, make: bool = True) -> CloudStorage:
    token = folder / "token"
    if make:
        token.write_text(cloud.at.token)
        made = cloud.call("POST", "/storage/v1/b", params={"project": cloud.project}, json={"name": "kept"})
        made.raise_for_status()
    return CloudStorage(bucket="kept", endpoint=cloud.at.api, access_token_file=token)
