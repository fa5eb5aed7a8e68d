"""`python -m bench.vm_swap`: swaps on a sandbox VM under load, and what the way through the metadata adds."""

import argparse
import statistics
import time

from bench.sample import sample_image
from bench.vm import Vm, built_agent, cloud, node_boot
from deployments.load import Request, running
from releases import desired as desire
from releases.status import Phase


def swapped(vm: Vm) -> tuple[float, float]:
    """Seconds from setMetadata to live, and how many of them the container took to start and answer."""
    release = vm.release()
    started = time.monotonic()
    generation = vm.proposed(release)
    vm.until(lambda: vm.at(generation).phase is Phase.verify)
    spent = vm.at(generation).seconds
    vm.change(lambda now: desire.shift(now, generation, 100))
    vm.until(lambda: vm.at(generation).phase is Phase.bake and vm.live() == release.number)
    whole = time.monotonic() - started
    vm.change(lambda now: desire.confirm(now, generation))
    vm.until(lambda: vm.at(generation).phase is Phase.live)
    return whole, sum(spent.get(phase, 0.0) for phase in ("pull", "start", "probe"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=10)
    parser.add_argument("--rate", type=float, default=100)
    given = parser.parse_args()
    with sample_image() as image, cloud() as made:
        vm = made.boot("vm-1", node_boot(built_agent(), image.partition("/")[0]))
        vm.image = image
        vm.confirmed(vm.release())
        with running(Request(vm.boot.ports[0], host=vm.address), rate=given.rate) as load:
            taken = [swapped(vm) for _ in range(given.swaps)]
    beyond = [whole - container for whole, container in taken]
    print(f"{load.total} requests, {len(load.failures)} failed (goal 0)")
    print(f"setMetadata to live, median       {statistics.median(whole for whole, _ in taken):.2f} s")
    print(f"of it the container, median       {statistics.median(one for _, one in taken):.2f} s")
    median, worst = statistics.median(beyond), max(beyond)
    print(f"beyond it, median and worst       {median:.2f} s, {worst:.2f} s (goal <= 1)")


if __name__ == "__main__":
    main()
