"""Services that are released for the first time at the same moment."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from blocks.targets.local import LocalTarget

SERVICES = [f"service-{number}" for number in range(8)]


def test_services_that_come_at_once_get_a_port_each_and_keep_it(tmp_path: Path) -> None:
    for attempt in range(10):
        home, together = tmp_path / str(attempt), Barrier(len(SERVICES))

        def port_of(service: str) -> int:
            target = LocalTarget(home=home, ports=list(range(1, 20)), agent_image="none")  # noqa: B023 - at once
            together.wait()  # noqa: B023
            return target.service_port(service, None)

        with ThreadPoolExecutor(len(SERVICES)) as pool:
            ports = list(pool.map(port_of, SERVICES))
        assert len(set(ports)) == len(SERVICES)
        later = LocalTarget(home=home, ports=list(range(1, 20)), agent_image="none")
        assert [later.service_port(service, None) for service in SERVICES] == ports
