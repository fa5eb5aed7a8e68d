"""`python -m bench.vm_restart`: seconds without service, ours against the old way, a restart of the VM."""

import argparse
from collections.abc import Callable

import httpx
import yaml

from bench.sample import sample_image
from bench.vm import Vm, built_agent, cloud, node_boot
from deployments.load import Request, Result, running
from releases.container_declaration import KEY
from releases.node_boot import NodeBoot

PORT = 8000  # the sample image's own
OLD = NodeBoot(agent_image="none", edge_image="none", registry="none", ports=(PORT,))


def declaration(image: str, number: int) -> str:
    container = {"image": image, "env": [{"name": "RELEASE", "value": str(number)}]}
    return yaml.safe_dump({"spec": {"containers": [container], "restartPolicy": "Always"}})


def answers(vm: Vm) -> bool:
    try:
        return vm.cloud.http.get(vm.url() + "/healthz", timeout=2).is_success
    except httpx.HTTPError:
        return False


def restarted(vm: Vm, image: str, times: int) -> None:
    """What `gcloud compute instances update-container` does: rewrite, stop, start."""
    for number in range(times):
        vm.put(**{KEY: declaration(image, number + 2)})
        for verb in ("stop", "start"):
            vm.power(verb)
        vm.until(lambda: answers(vm))


def swapped(vm: Vm, times: int) -> None:
    for _ in range(times):
        vm.confirmed(vm.release())


def without_service(vm: Vm, rate: float, work: Callable[[], None]) -> tuple[Result, float]:
    """What came of the requests meanwhile, and for how many seconds they failed."""
    request = Request(vm.boot.ports[0], host=vm.address, timeout=2)
    with running(request, rate=rate, keep_alive=False) as load:
        work()
    return load, len(load.failures) / rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--rate", type=float, default=100)
    given = parser.parse_args()
    with sample_image() as image, cloud() as made:
        made.create("old", {KEY: declaration(image, 1)})
        old = Vm(made, "old", OLD)
        old.until(lambda: answers(old))
        new = made.boot("new", node_boot(built_agent(), image.partition("/")[0]))
        new.image = image
        swapped(new, 1)
        restarting, down = without_service(old, given.rate, lambda: restarted(old, image, given.times))
        swapping, lost = without_service(new, given.rate, lambda: swapped(new, given.times))
    print(f"{'':<22}{'requests':>9}{'failed':>8}{'without service, a release':>28}")
    for name, load, seconds in (("restart of the VM", restarting, down), ("ours", swapping, lost)):
        print(f"{name:<22}{load.total:>9}{len(load.failures):>8}{seconds / given.times:>26.2f} s")
    print("\nA sandbox VM boots at once: what a real one's boot takes comes on top of the first line.")


if __name__ == "__main__":
    main()
