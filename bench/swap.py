"""`python -m bench.swap`: requests lost and latencies while swapping, ours against stop-and-run."""

import argparse
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack

import httpx

from bench.node import local_node
from bench.sample import sample_image
from deployments.load import Request, Result, running
from deployments.machine.home import free_ports

NAME = "md-test-bench-swap"


def under_load(port: int, rate: float, work: Callable[[], None]) -> list[Result]:
    """The work while requests run, half of them on kept connections."""
    with ExitStack() as load:
        results = [
            load.enter_context(running(Request(port), rate=rate / 2, senders=8, keep_alive=kept))
            for kept in (True, False)
        ]
        work()
    return results


def line(name: str, results: list[Result]) -> Result:
    both = Result(
        [one for result in results for one in result.latencies],
        [one for result in results for one in result.failures],
    )
    p50, p99 = both.percentile(50) * 1000, both.percentile(99) * 1000
    print(f"{name:<28}{both.total:>9}{len(both.failures):>8}{p50:>9.1f}ms{p99:>9.1f}ms")
    return both


def against(ours: Result, swaps: int, script: Result, times: int) -> str:
    """Both sides in one line; of failed requests what one swap costs, since the script is run less often."""
    pairs = {
        "failed a swap": (len(ours.failures) / swaps, len(script.failures) / times, ""),
        "p99": (ours.percentile(99) * 1000, script.percentile(99) * 1000, " ms"),
    }
    told = [
        f"{name} {one:.1f}{unit} / {other:.1f}{unit} = {f'{one / other:.2f}' if other else 'no ratio'}"
        for name, (one, other, unit) in pairs.items()
    ]
    return f"ours / stop and run: {', '.join(told)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=300)
    parser.add_argument("--swaps", type=int, default=20)
    given = parser.parse_args()
    print(f"{'':<28}{'requests':>9}{'failed':>8}{'p50':>11}{'p99':>11}")
    with sample_image() as image:
        with local_node(image) as node:

            def swap() -> None:
                for _ in range(given.swaps):
                    node.confirmed(node.release())

            node.confirmed(node.release())
            started = time.monotonic()
            swapping = under_load(node.port, given.rate, swap)
            seconds = time.monotonic() - started
            steady = line("steady", under_load(node.port, given.rate, lambda: time.sleep(seconds)))
            during = line(f"ours, {given.swaps} swaps", swapping)
            worse = during.percentile(99) / steady.percentile(99)
        port, few = free_ports(1)[0], max(1, given.swaps // 4)

        def stop_and_run() -> None:
            for _ in range(few):
                replace(image, port)

        try:
            replace(image, port)
            script = line(f"stop and run, {few} times", under_load(port, given.rate, stop_and_run))
        finally:
            subprocess.run(["docker", "rm", "-fv", NAME], capture_output=True, check=False)
    print(f"\np99 while swapping / steady: {worse:.2f} (goal <= 1.5); goal: 0 failed")
    print(against(during, given.swaps, script, few))
    print(f"a whole swap, container start and drain included: {seconds / given.swaps:.2f} s")


def replace(image: str, port: int) -> None:
    subprocess.run(["docker", "stop", "-t", "1", NAME], capture_output=True, check=False)
    subprocess.run(["docker", "rm", "-fv", NAME], capture_output=True, check=False)
    run = ["docker", "run", "-d", "--init", "--name", NAME, "-p", f"127.0.0.1:{port}:8000", image]
    subprocess.run(run, capture_output=True, check=True)
    for _ in range(400):
        try:
            httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=1)
        except httpx.HTTPError:
            time.sleep(0.02)
        else:
            return


if __name__ == "__main__":
    main()
