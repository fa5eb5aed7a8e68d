"""A managed instance group: keeps as many VMs as wanted, each with the group's own metadata and labels."""

import asyncio
import secrets
from dataclasses import dataclass, field

from sandbox.compute.instance import Instance, new_instance
from sandbox.compute.instances import create, destroy, power_cycle
from sandbox.compute.names import fingerprint, last, link
from sandbox.compute.operations import Request
from sandbox.errors import not_implemented
from sandbox.routing import Json
from sandbox.world import ZONES, World

ACTIONS = ("NONE", "REFRESH", "RESTART", "REPLACE")  # from the least disruptive on
LOCKED = ("allInstancesConfig", "updatePolicy", "instanceTemplate", "targetSize", "description")
SUMMARY = (
    *("abandoning", "creating", "creatingWithoutRetries", "deleting", "none", "recreating", "refreshing"),
    *("restarting", "resuming", "starting", "stopping", "suspending", "verifying"),
)


@dataclass
class Member:
    """One VM of the group, and what the group is doing with it."""

    zone: str
    name: str
    template: str
    revision: str = ""
    action: str = "CREATING"


@dataclass
class Group:
    """A zonal or regional group."""

    project: str
    place: str
    name: str
    resource: Json
    members: dict[str, Member] = field(default_factory=dict)
    revision: str = ""
    deleted: bool = False

    @property
    def template(self) -> str:
        """The name of the template of its new VMs."""
        return last(self.resource["instanceTemplate"])

    @property
    def zones(self) -> list[str]:
        """Where its VMs may be."""
        if self.place not in ZONES:
            return [self.place]
        chosen = (self.resource.get("distributionPolicy") or {}).get("zones") or []
        return [last(one["zone"]) for one in chosen] or list(ZONES[self.place])

    @property
    def config(self) -> Json:
        """The metadata and labels that all its VMs shall have."""
        return dict((self.resource.get("allInstancesConfig") or {}).get("properties") or {})

    def shown(self) -> Json:
        """The resource with its state as of now."""
        members = list(self.members.values())
        effective = all(member.revision == self.revision for member in members)
        status = {
            "isStable": len(members) == self.resource["targetSize"]
            and all(m.action == "NONE" for m in members),
            "allInstancesConfig": {"effective": effective, "currentRevision": self.revision},
            "versionTarget": {"isReached": all(member.template == self.template for member in members)},
            "stateful": {"hasStatefulConfig": False, "perInstanceConfigs": {"allEffective": True}},
        }
        actions = {name: sum(_action(member) == name for member in members) for name in SUMMARY}
        mark = {"fingerprint": self.fingerprint}
        return {**self.resource, **mark, "status": status, "currentActions": actions}

    @property
    def fingerprint(self) -> str:
        """Of what may be patched: a writer that sends one must know the present one."""
        return fingerprint({key: self.resource.get(key) for key in LOCKED})

    def reconcile(self, world: World) -> None:
        """Have as many VMs as wanted; forget those that somebody deleted."""
        for member in list(self.members.values()):
            if member.action == "NONE" and not self.vm(world, member):
                del self.members[member.name]
        staying = [member for member in self.members.values() if member.action != "DELETING"]
        for _ in range(self.resource["targetSize"] - len(staying)):
            self._add(world)
        for member in staying[max(self.resource["targetSize"], 0) :]:
            member.action = "DELETING"
            world.background(self._remove(world, member))
        if self.deleted and not self.members:
            world.groups.pop((self.project, self.place, self.name), None)

    def vm(self, world: World, member: Member) -> Instance | None:
        """The member in the books."""
        return world.instances.get((self.project, member.zone, member.name))

    def _add(self, world: World) -> None:
        used = [member.zone for member in self.members.values()]
        zone = min(self.zones, key=used.count)
        base = self.resource["baseInstanceName"]
        member = Member(zone, f"{base}-{secrets.token_hex(2)}", self.template)
        self.members[member.name] = member
        world.background(self._create(world, member))

    async def _create(self, world: World, member: Member) -> None:
        with world.lock:
            properties = world.templates[self.project, member.template]["properties"]
            vm = new_instance(world, self.project, member.zone, {**properties, "name": member.name})
            vm.group = link(self.project, self.place, "instanceGroupManagers", self.name)
            vm.put_metadata({"created-by": vm.group})
            self._configure(vm, member)
            operation = create(Request(world, self.project, member.zone, "user:system"), vm)
        await world.operations[self.project, member.zone, operation["name"]].done.wait()
        with world.lock:
            # One that could not be created is tried again, as the real one does.
            if self.vm(world, member):
                member.action = "NONE"
            else:
                self.members.pop(member.name, None)
            self.reconcile(world)

    async def _remove(self, world: World, member: Member) -> None:
        with world.lock:
            vm = self.vm(world, member)
            request = Request(world, self.project, member.zone, "user:system")
            operation = destroy(request, vm) if vm else None
        if operation:
            await world.operations[self.project, member.zone, operation["name"]].done.wait()
        with world.lock:
            self.members.pop(member.name, None)
            self.reconcile(world)

    def _configure(self, vm: Instance, member: Member) -> None:
        vm.put_metadata(self.config.get("metadata") or {})
        vm.put_labels({**vm.resource.get("labels", {}), **(self.config.get("labels") or {})})
        member.revision = self.revision

    def apply(self, world: World, members: list[Member], least: str, most: str) -> None:
        """Bring these up to date, each by the least disruptive action that does it and is allowed."""
        for member in members:
            stale = member.revision != self.revision
            needed = max(least, "REFRESH" if stale else "NONE", key=ACTIONS.index)
            if member.template != self.template or needed == "REPLACE":
                raise not_implemented("replacing the instances of a group")
            if needed == "NONE" or ACTIONS.index(needed) > ACTIONS.index(most):
                continue
            member.action = "REFRESHING" if needed == "REFRESH" else "RESTARTING"
            world.background(self._update(world, member))

    async def _update(self, world: World, member: Member) -> None:
        await asyncio.sleep(world.settings.running_seconds)
        vm = self.vm(world, member)
        if vm and member.action == "RESTARTING":
            await power_cycle(world, vm)
        with world.lock:
            vm = self.vm(world, member)
            if vm:
                self._configure(vm, member)
            member.action = "NONE"
            self.reconcile(world)

    async def roll(self, world: World) -> None:
        """The proactive update: a few at a time until all have what the group wants."""
        while not self.deleted:
            with world.lock:
                stale = [
                    m for m in self.members.values() if m.revision != self.revision and m.action == "NONE"
                ]
                busy = [m for m in self.members.values() if m.action == "REFRESHING"]
                self.apply(world, stale[: max(self._most_at_once() - len(busy), 0)], "NONE", "REPLACE")
            if not stale and not busy:
                return
            await asyncio.sleep(world.settings.running_seconds)

    def _most_at_once(self) -> int:
        wanted = (self.resource.get("updatePolicy") or {}).get("maxUnavailable") or {}
        if "percent" in wanted:
            return max(1, int(self.resource["targetSize"] * int(wanted["percent"]) / 100))
        return max(1, int(wanted.get("fixed", len(self.zones))))


def _action(member: Member) -> str:
    return member.action.lower()
