"""What an administrator may request from a running plugin; see `hub.model.admin`."""

import shlex
from collections.abc import Collection, Mapping, Sequence

from hub.api.device import Device
from hub.base.log import LogLevel, get_logger, set_level
from hub.base.statusfile import StatusFile
from hub.base.wording import counted
from hub.model.admin import Cordon, RefreshHolders, Request, Reset, Response, SetLogLevel, Uncordon
from hub.plugin.devices.inventory import Inventory
from hub.plugin.health.keys import physical_key, share_key
from hub.plugin.health.record import ADMIN_RESET, ANNOTATION, CORDON
from hub.plugin.health.store import HealthStore
from hub.plugin.heartbeat import Heartbeat
from hub.plugin.holders import Holders
from hub.plugin.ownership import Ownership, Role
from hub.plugin.resets.service import ResetService
from hub.reset.result import Outcome

_DESCRIBING = {"name": "", "model": "", "index": "index "}
"""The attributes that identify a device to an administrator, each with the words that precede it."""

_Shares = Mapping[str, Sequence[Device]]
"""The advertised shares of one physical device, by resource."""


class AdminCommands:
    """Runs an administrator's commands.

    Args:
        ownership: The newer hub that owns the devices, if there is one.
        health: The cordons and faults of the devices.
        inventory: The devices.
        holders: The containers that use them.
        resets: Resets the devices.
        heartbeat: Written when the log level has changed.
        status: Written before the response, because a client reads it after the response.
    """

    def __init__(
        self,
        *,
        ownership: Ownership,
        health: HealthStore,
        inventory: Inventory,
        holders: Holders,
        resets: ResetService,
        heartbeat: Heartbeat,
        status: StatusFile,
    ) -> None:
        self._ownership = ownership
        self._health = health
        self._inventory = inventory
        self._holders = holders
        self._resets = resets
        self._heartbeat = heartbeat
        self._status = status
        self._log = get_logger()

    async def answer(self, request: Request) -> Response:
        """Run a command, and return its result once the status file shows its effects."""
        self._health.refresh_role()
        if newest := self._ownership.newest:
            service = self._ownership.is_service(newest)
            owner = self._ownership.describe(newest) if service else f"the newer hub {newest}"
            return Response(ok=False, message=f"{owner} owns this node: repeat the command with --instance {newest}")
        if self._ownership.role is Role.EXITING:
            return Response(
                ok=False,
                message="this hub is stopping, and is handing the node over to another hub: "
                "repeat the command with --instance and the name of that hub",
            )
        response = await self._run(request)
        self._inventory.publish()
        self._status.write()
        return response

    async def _run(self, request: Request) -> Response:
        match request:
            case Cordon():
                return await self.cordon(request)
            case Uncordon():
                return self.uncordon(request)
            case Reset():
                return await self.reset(request)
            case SetLogLevel():
                return self.set_log_level(request)
            case RefreshHolders():
                return await self.refresh_holders(request)

    async def cordon(self, request: Cordon) -> Response:
        """Keep the kubelet from allocating a device; containers that use it keep it."""
        key, reason, shares = request.device, request.reason, self._shares(request.device)
        if not shares:
            return _no_device(key)
        source = ANNOTATION if request.by_annotation else CORDON
        before = self._health.record(key).admin_faults.get(source)
        new = f"cordoned: {reason}" if reason else "cordoned"
        if request.by_annotation:
            new = "cordoned by the node's annotation dphub.dev/cordon"
        # Without a new reason, keep the previous one.
        failure = self._health.set_admin_fault(key, source, before.reason if before and not reason else new)
        self._log.info("device cordoned", device=key, reason=reason, by=source)
        was = f"; it was already {before.reason}" if before else ""
        await self._holders.refresh()
        keeps = "".join(f"; {holder.describe('keeps it')}" for holder in self._holders.of_device(key))
        return _saved(f"{_describe(key, shares)} is cordoned ({_count(shares)}){was}{keeps}", failure)

    def uncordon(self, request: Uncordon) -> Response:
        """Release a device that is cordoned or, failing that, is waiting for an administrator."""
        key, shares = request.device, self._shares(request.device)
        named = _describe(key, shares)
        if request.by_annotation:
            return self._end_annotation(key, named)
        # An administrator who ends a cordon may not know of a later fault, whichever record it is in.
        record = self._health.record(key)
        again = (
            "; the agent cordons it again while the annotation names it" if ANNOTATION in record.admin_faults else ""
        )
        released, failure = self._health.release([key] if record.is_cordoned else _record_keys(key, shares))
        if not released:
            return Response(ok=False, message=f"{named} is not cordoned and is not waiting for an administrator")
        self._log.info("device uncordoned", device=key, was=released)
        return _saved(f"{named} is uncordoned (was: {released}){again}{self._remaining(key, shares)}", failure)

    def _end_annotation(self, key: str, named: str) -> Response:
        """End a cordon by the node's annotation; a cordon by command and the device's faults remain."""
        self._health.clear_admin_fault(key, ANNOTATION)
        self._health.save()
        self._log.info("device uncordoned", device=key, was=ANNOTATION)
        return Response(ok=True, message=f"{named} is no longer cordoned by the node's annotation")

    async def reset(self, request: Reset) -> Response:
        """Reset a device now, if no container uses it."""
        key, shares = request.device, self._shares(request.device)
        if not shares:
            return _no_device(key)
        named = _describe(key, shares)
        if why := self._resets.reset_blocked(shares):
            return Response(ok=False, message=f"{named} was not reset: {why}")
        if ADMIN_RESET in self._health.record(key).admin_faults:
            return Response(ok=False, message=f"{named} was not reset: another reset of it is under way")
        # Set before the kubelet is queried for the container that uses the device: once the kubelet has answered,
        # it must not allocate the device.
        self._health.set_admin_fault(key, ADMIN_RESET, "an administrator is resetting it")
        try:
            answer = await self._reset_if_free(key, named)
        finally:
            self._health.clear_admin_fault(key, ADMIN_RESET)
        return Response(ok=True, message=f"{answer.message}{self._remaining(key, shares)}") if answer.ok else answer

    def set_log_level(self, request: SetLogLevel) -> Response:
        """Log at this level and above."""
        # Log the change at a level that is visible whatever the previous and the new level are.
        set_level(LogLevel.INFO)
        self._log.info("log level set", to=str(request.level))
        set_level(request.level)
        self._heartbeat.beat()
        return Response(ok=True, message=f"log level is now {request.level}")

    async def refresh_holders(self, _request: RefreshHolders) -> Response:
        """Query the kubelet now for the containers that use devices."""
        is_known = await self._holders.refresh()
        return Response(is_known, "" if is_known else "the kubelet's pod resources API does not answer")

    async def _reset_if_free(self, key: str, named: str) -> Response:
        if not await self._holders.refresh():
            why = "cannot determine whether it is in use: the kubelet's pod resources API is unavailable"
            return Response(ok=False, message=f"{named} was not reset: {why}")
        if holders := self._holders.of_device(key):
            users = "; ".join(holder.describe("is using it") for holder in holders)
            return Response(ok=False, message=f"{named} was not reset: {users}")
        self._log.info("reset requested", device=key)
        result = await self._resets.reset_now(key)
        if result.outcome is Outcome.OK:
            return Response(ok=True, message=f"{named} was reset in {result.seconds:.2f} s")
        return Response(ok=False, message=result.message)

    def _remaining(self, key: str, shares: _Shares) -> str:
        """Return what still prevents use of a device, to be added to a message; empty if nothing does."""
        keys = _record_keys(key, shares)
        reasons = self._health.reasons(keys)
        if not reasons:
            return ""
        needs_admin = any(self._health.record(each).needs_admin for each in keys)
        return f"; still unhealthy: {reasons}" + (f" → dphub uncordon {shlex.quote(key)}" if needs_admin else "")

    def _shares(self, key: str) -> _Shares:
        shares: dict[str, list[Device]] = {}
        for resource, device in self._inventory.all_devices():
            if physical_key(resource, device) == key:
                shares.setdefault(resource, []).append(device)
        return shares


def _no_device(key: str) -> Response:
    return Response(ok=False, message=f"there is no device {key}")


def _saved(message: str, failure: str) -> Response:
    """Return what was done, and whether it outlives a restart of the plugin."""
    if failure:
        unsaved = f"the change lasts only until the plugin restarts, because it could not be saved: {failure}"
        return Response(ok=False, message=f"{message}; {unsaved}")
    return Response(ok=True, message=message)


def _record_keys(key: str, shares: _Shares) -> Collection[str]:
    """Return the keys of all health records of a physical device, its own first."""
    of_shares = (share_key(resource, device) for resource, devices in shares.items() for device in devices)
    return dict.fromkeys((key, *of_shares))


def _describe(key: str, shares: _Shares) -> str:
    """Return the device with the attributes that let an administrator recognize it."""
    first, *others = [device.attributes for devices in shares.values() for device in devices] or [{}]
    common = [
        f"{words}{first[name]}"
        for name, words in _DESCRIBING.items()
        if name in first and all(other.get(name) == first[name] for other in others)
    ]
    return f"{key} ({', '.join(common)})" if common else key


def _count(shares: _Shares) -> str:
    return ", ".join(f"{counted(len(devices), 'device')} of {resource}" for resource, devices in shares.items())
