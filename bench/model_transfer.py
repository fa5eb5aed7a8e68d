"""Publishing and fetching a model, against a plain upload file by file, and gcloud where it is installed.

    python -m bench.model_transfer [--files 8] [--megabytes 64] [--large 512] [--rounds 3] [--latency 0.02]

All against the sandbox's Cloud Storage on this machine, with the same files, in turn, in one run. Ours also
takes SHA-256 and CRC32C of every file and verifies them; the others check CRC32C at most. The sandbox shares
the machine's cores with whoever talks to it: the ratios mean something, the speeds do not.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from blocks.cloud_storage import CloudStorage
from blocks.model_folder import sources_in
from blocks.model_store import ModelStore
from releases.spec import Model
from sandbox.server import running
from sandbox.world import Settings, World


class Nobody:
    def begin(self, doing: str, total: int) -> None: ...

    def moved(self, size: int) -> None: ...


@dataclass(frozen=True)
class Place:
    """A bucket of the sandbox, and how to reach it."""

    api: str
    token: Path
    bucket: str = "models"

    @property
    def store(self) -> CloudStorage:
        return CloudStorage(bucket=self.bucket, endpoint=self.api, access_token_file=self.token)


@contextmanager
def sandbox(folder: Path, latency: float) -> Iterator[Place]:
    world = World(Settings())
    with running(world) as at:
        (folder / "token").write_text(at.token)
        headers = {"Authorization": f"Bearer {at.token}"}
        with httpx.Client(base_url=at.api, headers=headers, timeout=30) as client:
            made = client.post("/storage/v1/b", params={"project": "bench"}, json={"name": "models"})
            made.raise_for_status()
            if latency:
                fault = {"kind": "latency", "path": "*storage*", "count": None, "seconds": latency}
                client.post("/sandbox/faults", json=fault).raise_for_status()
        yield Place(at.api, folder / "token")


def single_stream(place: Place, folder: Path, name: str) -> None:
    """What a script does: the client, one file after the other."""
    bucket = place.store._client.bucket(place.bucket)  # noqa: SLF001 - the very same client
    for source in sources_in(folder):
        bucket.blob(f"{name}/{source.path}").upload_from_filename(str(source.file), if_generation_match=0)


def single_stream_back(place: Place, name: str, to: Path) -> None:
    bucket = place.store._client.bucket(place.bucket)  # noqa: SLF001
    for blob in bucket.list_blobs(prefix=f"{name}/"):
        file = to / blob.name.removeprefix(f"{name}/")
        file.parent.mkdir(parents=True, exist_ok=True)
        blob.download_to_filename(str(file))


def gcloud(place: Place, *words: str) -> None:
    environment = {
        **os.environ,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{place.api}/storage/v1/",
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(place.token),
        "CLOUDSDK_CORE_PROJECT": "bench",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        # Its parts would be composed, which the sandbox does not do, and which no model of ours is made by.
        "CLOUDSDK_STORAGE_PARALLEL_COMPOSITE_UPLOAD_ENABLED": "False",
    }
    subprocess.run(
        ["gcloud", "storage", "cp", "-r", "--quiet", *words],
        env=environment,
        check=True,
        capture_output=True,
        timeout=300,
    )


def make_model(folder: Path, files: int, megabytes: int) -> int:
    folder.mkdir()
    for number in range(files):
        (folder / f"part-{number}.bin").write_bytes(os.urandom(megabytes << 20))
    return files * megabytes


def measure(place: Place, model: Path, rounds: int, scratch: Path) -> dict[str, list[float]]:
    """Seconds by who did what; each round has names of its own."""
    taken: dict[str, list[float]] = {}

    def timed(who: str, do: Callable[[], object]) -> None:
        started = time.perf_counter()
        do()
        taken.setdefault(who, []).append(time.perf_counter() - started)

    models = ModelStore(place.store)
    for number in range(rounds):
        name, wanted = f"{model.name}-{number}", Model(name=model.name, version=f"v{number + 1}")
        timed("ours up", partial(models.publish, wanted, sources_in(model), Nobody()))
        timed("single up", partial(single_stream, place, model, name))
        got = models.get(wanted.name, wanted.version)
        timed("ours down", partial(models.download_whole, got, scratch / "ours", Nobody()))
        timed("single down", partial(single_stream_back, place, name, scratch / "single"))
        if shutil.which("gcloud"):
            there = f"gs://{place.bucket}/gcloud-{name}"
            (scratch / "gcloud").mkdir()
            timed("gcloud up", partial(gcloud, place, str(model), there))
            timed("gcloud down", partial(gcloud, place, there, str(scratch / "gcloud")))
        for each in ("ours", "single", "gcloud"):
            shutil.rmtree(scratch / each, ignore_errors=True)
    return taken


def show(title: str, megabytes: int, taken: dict[str, list[float]]) -> None:
    print(f"\n{title}: {megabytes} MB")
    for way in ("up", "down"):
        ours = statistics.median(taken[f"ours {way}"])
        for who in ("ours", "single", "gcloud"):
            if seconds := taken.get(f"{who} {way}"):
                middle = statistics.median(seconds)
                print(
                    f"  {who:<7} {way:<5} {middle:7.2f} s  {megabytes / middle:7.0f} MB/s"
                    f"   ours is {middle / ours:5.2f} times   ({', '.join(f'{one:.2f}' for one in seconds)})"
                )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--megabytes", type=int, default=32, help="of each file")
    parser.add_argument("--large", type=int, default=256, help="megabytes of the single large file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that every answer is late")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="model-deploy-bench-") as name:
        folder = Path(name)
        with sandbox(folder, given.latency) as place:
            for title, files, each in (("files", given.files, given.megabytes), ("large", 1, given.large)):
                size = make_model(folder / title, files, each)
                show(title, size, measure(place, folder / title, given.rounds, folder))


if __name__ == "__main__":
    main()
