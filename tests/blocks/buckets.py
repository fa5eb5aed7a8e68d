"""A bucket of the sandbox as a store."""

from pathlib import Path

from blocks.cloud_storage import CloudStorage
from tests.sandbox.conftest import Cloud


def cloud_store(cloud: Cloud, folder: Path, *, make: bool = True) -> CloudStorage:
    token = folder / "token"
    if make:
        token.write_text(cloud.at.token)
        bucket = {"name": "kept", "versioning": {"enabled": True}}  # a second writing is seen
        made = cloud.call("POST", "/storage/v1/b", params={"project": cloud.project}, json=bucket)
        made.raise_for_status()
    return CloudStorage(bucket="kept", endpoint=cloud.at.api, access_token_file=token)
