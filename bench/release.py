"""`python -m bench.release`: our release against the plain script, first time, code change, no change."""

import argparse
import json
import secrets
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from bench.stage import Stage, stage, timed
from blocks.docker_client import find_docker
from deployments.machine.home import free_ports
from deployments.stack import ROOT

SCRIPT = Path(__file__).with_name("script.sh")


@dataclass
class Side:
    """A copy of the sample service whose layers no other copy has built."""

    repository: Path
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.repository)], check=True)
        file = self.repository / "Dockerfile"
        text = file.read_text().replace("WORKDIR /app\n", f"WORKDIR /app\nRUN : {secrets.token_hex(4)}\n")
        file.write_text(text)
        self.commit()

    def commit(self) -> None:
        identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        git = ["git", "-C", str(self.repository), *identity, "commit", "--quiet", "--all", "-m", "change"]
        subprocess.run(git, check=True)

    def change_code(self) -> None:
        with (self.repository / "serving/app.py").open("a") as file:
            file.write(f"# {secrets.token_hex(8)}\n")
        self.commit()

    def took(self, kind: str, seconds: float) -> None:
        self.seconds.setdefault(kind, []).append(seconds)

    def median(self, kind: str) -> float:
        return statistics.median(self.seconds[kind])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with stage() as here:
        ours, script = Side(here.folder / "ours"), Side(here.folder / "script")
        prefect = statistics.median(here.prefect_seconds() for _ in range(3))
        docker, port = find_docker(), free_ports(1)[0]
        image = f"localhost:{here.home.chosen().registry_port}/bench-script:latest"
        argv = [str(SCRIPT), str(script.repository), image, str(port), docker.path]
        try:
            measure(here, ours, script, argv, {**here.environment, **docker.environment}, rounds)
        finally:
            subprocess.run(["docker", "rm", "-fv", f"bench-script-{port}"], capture_output=True, check=False)
    said = "import, connect, a flow with a parameter that does nothing"
    print(f"Prefect's own fixed cost ({said}): {prefect:.2f} s\n")
    print(f"{'':<14}{'script':>9}{'ours':>9}{'less Prefect':>14}{'in the flow':>13}{'ratio':>8}")
    for kind in ("first time", "code change", "no change"):
        wall, flow, plain = ours.median(kind), ours.median(f"{kind}, flow"), script.median(kind)
        less = wall - prefect
        print(f"{kind:<14}{plain:>8.2f}s{wall:>8.2f}s{less:>13.2f}s{flow:>12.2f}s{less / plain:>8.2f}")
    print("\nratio: (ours less Prefect) / script. Goals: code change <= 1.0; no change <= 3 s less Prefect")


def measure(
    here: Stage, ours: Side, script: Side, argv: list[str], environment: dict[str, str], rounds: int
) -> None:
    for kind, times in (("first time", 1), ("code change", rounds), ("no change", rounds)):
        for _ in range(times):
            if kind == "code change":
                ours.change_code()
                script.change_code()
            seconds, said = here.model_deploy("release", str(ours.repository), "--json")
            ours.took(kind, seconds)
            ours.took(f"{kind}, flow", sum(json.loads(said)["seconds"].values()))
            script.took(kind, timed(argv, environment)[0])


if __name__ == "__main__":
    main()
