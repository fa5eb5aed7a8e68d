"""Base images: pulled where a registry answers, made from Debian packages where none does."""

import hashlib
import tempfile
from pathlib import Path

from blocks.command import run
from blocks.docker_client import DockerClient
from deployments.machine.engine import install, may_install
from releases.problem import Failed, Unreachable

PYTHON = "python:3.11-slim"
EDGE = "model-deploy/haproxy:local"
REGISTRY = "model-deploy/registry:local"
STAND_IN = "model-deploy.stand-in"
HAPROXY, DISTRIBUTION = "haproxy:3.0", "registry:2"
PULLED = (PYTHON, HAPROXY, DISTRIBUTION)  # others on this machine may have them, too
MADE = ("model-deploy/", "model-deploy-build/")

ROOT = Path(__file__).parent.parent.parent
RECIPES = Path(__file__).parent / "images"
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
# $1 folder, $2 docker, $3 image, then the changes to its configuration
IMPORT = 'set -o pipefail; tar -C "$1" -c . | "$2" import "${@:4}" - "$3"'
PULL_SECONDS = 300
MAKE_SECONDS = 900


def has(docker: DockerClient, image: str) -> bool:
    """Whether the engine has the image."""
    return run([docker.path, "image", "inspect", image], timeout=30).code == 0


def label(docker: DockerClient, image: str, name: str) -> str:
    """An image's label; empty without."""
    argv = [docker.path, "image", "inspect", "--format", f'{{{{index .Config.Labels "{name}"}}}}', image]
    finished = run(argv, timeout=30)
    return finished.output.strip().replace("<no value>", "") if finished.code == 0 else ""


def pulled(docker: DockerClient, image: str) -> bool:
    """Pull; False where no registry answers."""
    try:
        return run([docker.path, "pull", "--quiet", image], timeout=PULL_SECONDS).code == 0
    except Failed:
        return False


def ensure_python(docker: DockerClient) -> str:
    """`python:3.11-slim`, official or a stand-in. Returns what was done. Raises Unreachable."""
    if has(docker, PYTHON):
        if python_works(docker):
            return "there already"
        if not label(docker, PYTHON, STAND_IN):
            raise Failed(
                f"the image {PYTHON} on this machine has no working python and pip",
                next_step=f"docker image rm {PYTHON}",
            )
    elif pulled(docker, PYTHON):
        return "pulled"
    make_python(docker)
    return "made from Debian packages"


def python_works(docker: DockerClient) -> bool:
    """`python` and `pip` can be used as in the official image."""
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    shell = f'python -c "{check}" && pip --version'
    return run([docker.path, "run", "--rm", "--entrypoint", "sh", PYTHON, "-c", shell], timeout=60).code == 0


def make_python(docker: DockerClient) -> None:
    """Make the stand-in with debootstrap. Raises Unreachable where that cannot be done."""
    if not may_install():
        raise Unreachable(
            f"{PYTHON} can be neither pulled nor made",
            expected="an image registry in reach, or root on Debian or Ubuntu",
            next_step=f"docker pull {PYTHON}",
        )
    if run(["sh", "-c", "command -v debootstrap"], timeout=10).code != 0:
        install("debootstrap", where_known=["debian-archive-keyring"])  # Ubuntu has none of itself
    with tempfile.TemporaryDirectory(prefix="model-deploy-base-") as folder:
        root = Path(folder) / "root"
        _must(debootstrap(root))
        _as_official(root)
        _must(["bash", "-c", IMPORT, "bash", *import_arguments(root, docker)])


def debootstrap(root: Path) -> list[str]:
    """The command that lays the system down."""
    packages = "ca-certificates,python3,python3-pip,python3-venv"
    return ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root)]


def import_arguments(root: Path, docker: DockerClient) -> list[str]:
    """What the import pipe is given: folder, docker, name, changes."""
    variables = [f"{name}={BUNDLE}" for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")]
    changes = [f"LABEL {STAND_IN}={PYTHON}", *(f"ENV {each}" for each in variables), 'CMD ["python3"]']
    flags = [part for change in changes for part in ("--change", change)]
    return [str(root), docker.path, PYTHON, *flags]


def _as_official(root: Path) -> None:
    """`python` and `pip` as in the official image, and this machine's CA bundle trusted inside builds."""
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    (root / "usr/bin/python").symlink_to("python3")
    for package in root.glob("var/cache/apt/archives/*.deb"):
        package.unlink()
    if BUNDLE.exists():
        (root / str(BUNDLE).lstrip("/")).write_bytes(BUNDLE.read_bytes())


def ensure_edge(docker: DockerClient) -> str:
    """HAProxy, under the name that the agent uses."""
    return _ensure_either(docker, EDGE, HAPROXY, "haproxy")


def ensure_registry_image(docker: DockerClient) -> str:
    """An OCI registry, under a name of our own."""
    return _ensure_either(docker, REGISTRY, DISTRIBUTION, "registry")


def agent_image() -> str:
    """Its tag says what it was built from: two checkouts on one machine do not swap agents."""
    return f"model-deploy/agent:{sources_key(['agent', 'releases'])}"


def flows_image() -> str:
    """The project itself, for scheduled runs and deployments/compose.yaml."""
    rooms = ["agent", "blocks", "deployments", "flows", "releases"]
    return f"model-deploy/flows:{sources_key([*rooms, 'prefect.yaml', 'uv.lock'])}"


def ensure_agent(docker: DockerClient) -> str:
    """The agent's image, built where these sources have none yet."""
    return _ensure_built(docker, agent_image(), "agent/Dockerfile")


def ensure_flows(docker: DockerClient) -> str:
    """The project's own image, built where these sources have none yet."""
    return _ensure_built(docker, flows_image(), str((RECIPES / "flows.Dockerfile").relative_to(ROOT)))


def sources_key(names: list[str]) -> str:
    """Hash of every file under these folders of the project."""
    found = [file for name in names for file in sorted([ROOT / name, *(ROOT / name).rglob("*")])]
    digest = hashlib.sha256()
    for file in found:
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def remove_made(docker: DockerClient) -> list[str]:
    """Remove every image that was made here, of other checkouts too, unless a container has it; which."""
    before = _made(docker)
    if before:
        run([docker.path, "image", "rm", *before], timeout=120)
    left = _made(docker)
    return [image for image in before if image not in left]


def _made(docker: DockerClient) -> list[str]:
    form = "{{.Repository}}:{{.Tag}}"
    named = run([docker.path, "image", "ls", "--format", form], timeout=60).output.split()
    stand_in = [PYTHON] if label(docker, PYTHON, STAND_IN) else []
    mine = [image for image in named if image.startswith(MADE) and not image.endswith(":<none>")]
    return mine + stand_in


def _ensure_built(docker: DockerClient, image: str, dockerfile: str) -> str:
    if has(docker, image):
        return "there already"
    _must([docker.path, "build", "-t", image, "-f", dockerfile, "."], docker, cwd=ROOT)
    return "built"


def _ensure_either(docker: DockerClient, name: str, official: str, recipe: str) -> str:
    if has(docker, name):
        return "there already"
    # Where the python base had to be made, no registry answers: asking again only costs time.
    if not label(docker, PYTHON, STAND_IN) and pulled(docker, official):
        _must([docker.path, "tag", official, name])
        return "pulled"
    _must(
        [docker.path, "build", "-t", name, "-f", str(RECIPES / f"{recipe}.Dockerfile"), str(RECIPES)], docker
    )
    return "made from Debian packages"


def _must(argv: list[str], docker: DockerClient | None = None, cwd: Path | None = None) -> None:
    finished = run(argv, timeout=MAKE_SECONDS, env=docker.environment if docker else None, cwd=cwd)
    if finished.code != 0:
        raise Failed(f"`{' '.join(argv)[:120]}` failed", got=finished.tail)
