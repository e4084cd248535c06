"""What is new in a device list: logged, and counted."""

from collections.abc import Mapping

from hub.base.log import get_logger
from hub.base.wording import first_of
from hub.plugin.devices.devicelist import DeviceList
from hub.plugin.health.record import Health
from hub.plugin.health.store import DeviceHealth
from hub.plugin.metrics.process import ProcessMetrics

_MAX_NAMES = 16


class ListLog:
    """Logs the lists of one resource, and counts the devices whose health changes.

    Args:
        resource: The resource's name.
        metrics: Counts the changes.
    """

    def __init__(self, resource: str, metrics: ProcessMetrics) -> None:
        self._resource = resource
        self._metrics = metrics
        self._logged: dict[str, str] = {}
        """The reason that was logged for each unhealthy device."""
        self._log = get_logger(resource=resource)

    def record(self, before: DeviceList, after: DeviceList) -> None:
        """Log what differs between two consecutive lists."""
        if before.version != after.version:
            healthy = sum(map(after.is_healthy, after.devices))
            facts: dict[str, object] = {"reason": after.reason} if after.reason else {}
            total = len(after.devices) + len(after.departing)
            if after.departing:
                facts["removed"] = len(after.departing)
            self._log.info("devices advertised", total=total, healthy=healthy, **facts)
        if removed := [name for name in before.devices if name not in after.devices]:
            self._log.warning("devices removed", devices=first_of(removed, _MAX_NAMES))
        if before.health != after.health:
            self._log_health(after.health)
            self._count_changes(before.health, after.health)
        for problem in after.problems:
            if problem not in before.problems:
                self._log.error("device invalid", reason=problem)
        for warning in after.warnings:
            if warning not in before.warnings:
                self._log.warning("device warning raised", reason=warning)

    def _log_health(self, health: Mapping[str, DeviceHealth]) -> None:
        """Log one line for all devices that share a reason: when the driver is gone, there may be thousands.

        Also log only one line for a reason, not one for each attempt to recover from it.
        """
        known = {name: reason for name, reason in self._logged.items() if name in health}
        recovered = [name for name in known if not health[name].reason]
        self._logged = {name: reason for name, reason in known.items() if health[name].reason}
        failed: dict[str, list[str]] = {}
        for name, each in health.items():
            is_attempt = name in self._logged and each.health is Health.RECOVERING
            if each.reason and each.reason != self._logged.get(name) and not is_attempt:
                self._logged[name] = each.reason
                failed.setdefault(each.reason, []).append(name)
        for reason, names in failed.items():
            self._log.warning("devices unhealthy", devices=first_of(names, _MAX_NAMES), reason=reason)
        if recovered:
            self._log.info("devices recovered", devices=first_of(recovered, _MAX_NAMES))

    def _count_changes(self, before: Mapping[str, DeviceHealth], after: Mapping[str, DeviceHealth]) -> None:
        for name, health in after.items():
            was_healthy = name not in before or not before[name].reason
            is_healthy = not health.reason
            if is_healthy != was_healthy:
                self._metrics.health_changed(self._resource, healthy=is_healthy, source=health.source)
