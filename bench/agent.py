"""`python -m bench.agent`: how long the agent's image takes to start, and its memory at rest on a VM."""

import argparse
import statistics
import subprocess
import time

from bench.sample import sample_image
from bench.vm import built_agent, cloud, node_boot

REST_SECONDS = 5.0
# Says the same on a busy machine, which the time by the clock does not.
PROCESSOR = "import agent.__main__, resource as r; u = r.getrusage(0); print(u.ru_utime + u.ru_stime)"


def seconds(*argv: str, times: int) -> float:
    taken = []
    for _ in range(times):
        started = time.monotonic()
        subprocess.run(argv, check=True, capture_output=True)
        taken.append(time.monotonic() - started)
    return statistics.median(taken)


def processor(image: str) -> float:
    argv = ["docker", "run", "--rm", "--entrypoint", "python", image, "-c", PROCESSOR]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=7)
    given = parser.parse_args()
    image = built_agent()
    run = ["docker", "run", "--rm", "--network", "none"]
    bare = seconds(*run, "--entrypoint", "true", image, times=given.times)
    whole = seconds(*run, image, "--help", times=given.times)
    print(f"container of the agent's image that does nothing  {bare:.2f} s")
    print(f"the agent, everything imported                    {whole:.2f} s (goal < 1)")
    print(f"of this the processor was busy for                {processor(image):.2f} s")
    with sample_image() as sample, cloud() as made:
        vm = made.boot("vm-1", node_boot(image, sample.partition("/")[0]))
        vm.image = sample
        for _ in range(3):
            vm.confirmed(vm.release())
        time.sleep(REST_SECONDS)
        stats = vm.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", f"{vm.host}-agent")
        used = stats.split("/")[0].strip()
        resident = vm.docker("exec", f"{vm.host}-agent", "sh", "-c", "grep -h VmRSS /proc/[0-9]*/status")
        print(f"memory after three releases, at rest              {used} (goal < 60 MB)")
        print("resident, by process                              " + " ".join(resident.split()))
        started = time.monotonic()
        vm.power("reset")
        vm.until(lambda: vm.live() == vm.numbers)
        print(f"from a reset to the first answer                  {time.monotonic() - started:.2f} s")


if __name__ == "__main__":
    main()
