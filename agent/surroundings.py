"""Where a node stands: what differs between a laptop and a VM, and nothing else does."""

import argparse
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.engine import Engine, Login
from agent.google.api import Api
from agent.google.hint import Hint
from agent.google.metadata import MetadataServer
from agent.google.registry import RegistryLogin
from agent.google.secret_manager import SecretManager
from agent.google.storage import Bucket
from agent.google.successor import Successor
from agent.logs.folder import Folder
from agent.logs.upload import Uploads
from agent.memory import write
from agent.model_files import BucketFiles, FolderFiles, ModelFiles
from agent.secrets import SecretFiles, Secrets
from agent.sources import Source
from agent.sources.file import DesiredFile
from agent.sources.metadata import MetadataKey
from releases.node_boot import DESIRED_KEY
from releases.status import NodeStatus

NODE = Path("/node")
SECRETS = Path("/secrets")
STORE = Path("/store")


@dataclass(frozen=True)
class Surroundings:
    """What the agent is given by where it runs."""

    secrets: Secrets
    login: Login | None
    store: Uploads | None  # of finished log segments and the edge's counts
    models: ModelFiles
    source: Callable[[Engine], Source]
    tell: Callable[[NodeStatus], None]
    image: str  # the agent's own


def laptop(image: str) -> Surroundings:
    """Everything in folders that are mounted."""

    def tell(status: NodeStatus) -> None:
        write(NODE / "status.json", status.model_dump_json().encode())

    return Surroundings(
        secrets=SecretFiles(SECRETS),
        login=None,
        store=Folder(STORE) if STORE.exists() else None,
        models=FolderFiles(STORE),
        source=lambda _: DesiredFile(NODE / "desired.json"),
        tell=tell,
        image=image,
    )


def vm(given: argparse.Namespace) -> Surroundings:
    """Everything through the metadata server, and what its token opens."""
    metadata = MetadataServer(given.metadata)
    hint, storage = Hint(metadata), Api(metadata, given.storage)
    threading.Thread(target=hint.run, args=[threading.Event()], name="hint", daemon=True).start()
    return Surroundings(
        secrets=SecretManager(Api(metadata, given.secret_manager)),
        login=RegistryLogin(metadata, given.registry),
        store=Bucket(storage, given.bucket) if given.bucket else None,
        models=BucketFiles(Bucket(storage, given.models_bucket)),
        source=lambda engine: MetadataKey(metadata, DESIRED_KEY, Successor(given.image, engine.ensure_image)),
        tell=hint,
        image=given.image,
    )


def add_vm_arguments(parser: argparse.ArgumentParser) -> None:
    """What a VM's unit says (releases/node_boot/node.sh), and where Google's APIs are."""
    on_vm = parser.add_argument_group("on a VM")
    on_vm.add_argument("--metadata", help="the metadata server's address; without, this is a laptop")
    on_vm.add_argument("--registry", default="", help="the host that gets the VM's token at a pull")
    on_vm.add_argument("--bucket", default="", help="for finished log segments and the edge's counts")
    on_vm.add_argument("--models-bucket", default="", help="where models are fetched from")
    on_vm.add_argument("--storage", default="https://storage.googleapis.com")
    on_vm.add_argument("--secret-manager", default="https://secretmanager.googleapis.com")
