"""VMs on this machine's container engine, booting as Container-Optimized OS does, as far as ours need it."""

import shlex
import shutil
import sys
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.boot import credential_helper, engine, startup_agent, unit, user_data
from sandbox.boot.service import Service
from sandbox.boot.user_data import NotUnderstood

if TYPE_CHECKING:
    from sandbox.compute.instance import Instance

UNITS = "/etc/systemd/system/"
MOST_OF_A_CONSOLE = 1 << 20


def hostname(vm: "Instance") -> str:
    """Its own on this machine: VMs of several projects, zones and sandboxes may be called the same."""
    return f"{vm.name}-{vm.id[-6:]}"


@dataclass
class ContainerMachine:
    """`folder` holds the VMs' disks; `docker`'s volumes hold the rest of them."""

    folder: Path
    services: dict[str, list[Service]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def power_on(self, vm: "Instance") -> None:
        """Boot: the engine brings back what it keeps up, then user-data is done as on the first day."""
        host, root = hostname(vm), self.folder / vm.id
        specifiers = {"H": host, "b": uuid.uuid4().hex, "%": "%"}
        shutil.rmtree(root / "etc", ignore_errors=True)
        metadata = vm.metadata()
        text = metadata.get("user-data")
        if text is None and startup_agent.KEY not in metadata:
            vm.serial += "sandbox: there is no user-data\n"
            return
        given = user_data.read(text or user_data.NOTHING)
        for path, content in {**self._image(vm), **given.files}.items():
            file = root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
        engine.start_those_kept_up(host)
        for command in given.commands:
            self._command(vm, command, given.files, specifiers)
        if startup_agent.KEY in metadata:
            startup_agent.run(host, vm.address, metadata[startup_agent.KEY])

    def power_off(self, vm: "Instance") -> None:
        """The power is gone: nobody is told."""
        for service in self.services.pop(vm.id, []):
            service.kill()
        engine.kill(hostname(vm))

    def discard(self, vm: "Instance") -> None:
        """Its disks go."""
        engine.remove_all(hostname(vm))
        shutil.rmtree(self.folder / vm.id, ignore_errors=True)

    def _image(self, vm: "Instance") -> dict[str, str]:
        """What is on every VM here and not at Google: that Google is elsewhere, and the VM at an address."""
        at = f"http://{vm.inside}"
        arguments = f"--listen {vm.address} --storage {at} --secret-manager {at}"
        own = {
            "GCE_METADATA_HOST": vm.inside,
            "AGENT_ARGUMENTS": arguments,
            "OLD_CONTAINERS": f"^{startup_agent.prefix(hostname(vm))}",
        }
        return {"/etc/default/model-deploy": "".join(f"{name}={value}\n" for name, value in own.items())}

    def _command(
        self, vm: "Instance", command: list[str], files: dict[str, str], specifiers: dict[str, str]
    ) -> None:
        match command:
            case ["systemctl", "daemon-reload"]:
                return
            case ["systemctl", "start", *flags, name] if (
                set(flags) <= {"--no-block"} and UNITS + name in files
            ):
                service = self._service(vm, unit.read(name, files[UNITS + name], specifiers))
                self.services.setdefault(vm.id, []).append(service)
                service.start()
            case _:
                raise NotUnderstood(f"the sandbox does not implement the command {' '.join(command)}")

    def _service(self, vm: "Instance", read: unit.Unit) -> Service:
        def say(line: str) -> None:
            with self.lock:
                vm.serial = (vm.serial + line + "\n")[-MOST_OF_A_CONSOLE:]

        return Service(read, self.folder / vm.id, self._tools(), say)

    def _tools(self) -> Path:
        """What Container-Optimized OS brings and this machine may lack."""
        tools = self.folder / "bin"
        helper = tools / "docker-credential-gcr"
        if not helper.exists():
            tools.mkdir(parents=True, exist_ok=True)
            program = shlex.join([sys.executable, str(Path(credential_helper.__file__))])
            fresh = helper.with_suffix(".new")
            fresh.write_text(f'#!/bin/sh\nexec {program} "$@"\n', encoding="utf-8")
            fresh.chmod(0o755)
            fresh.replace(helper)
        return tools
