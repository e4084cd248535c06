"""What is wrong with a GPU that answers and can be used: its fabric, its links, its memory, its temperature."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pynvml
import structlog

from plugins.gpu.discovery.facts import Finding, FindingKind, Gpu
from plugins.gpu.nvml.calls import ENDED, Nvml, NvmlError
from plugins.gpu.nvml.fabric import fabric_health, fabric_state, read_fabric

_SWITCH = pynvml.NVML_NVLINK_DEVICE_TYPE_SWITCH


class Links(msgspec.Struct, frozen=True):
    """The NVLinks of a GPU, by number."""

    active: frozenset[int] = frozenset()
    switched: bool = False
    """Whether they lead to NVSwitches, on which all GPUs of a node have the same links."""


class Inspector:
    """An inspector of GPUs, which keeps their thresholds from one poll to the next.

    Args:
        nvml: The driver.
    """

    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        self._slowdown: dict[str, int] = {}

    def inspect(self, handle: Any, gpu: Gpu) -> tuple[Finding, ...]:  # noqa: ANN401 - NVML's handle
        """Return the findings about a GPU on its own. A check that fails finds nothing.

        Raises:
            NvmlError: the GPU, or the driver, is gone.
        """
        found: list[Finding] = []
        for check in (self._fabric, self._pcie, self._memory, self._temperature):
            try:
                found += check(handle, gpu)
            except NvmlError as error:
                if error.code in ENDED:
                    raise
                structlog.get_logger().debug("gpu check failed", gpu=gpu.uuid, reason=str(error))
        return tuple(found)

    def compare(self, gpus: Mapping[str, tuple[Any, Gpu]]) -> dict[str, Finding]:
        """Return, by UUID, the findings about inactive NVLinks that are active on all other GPUs of the same model.

        Args:
            gpus: Handle and facts by UUID.
        """
        # With MIG, a GPU uses no NVLinks.
        links = {uuid: self._links(handle) for uuid, (handle, gpu) in gpus.items() if not gpu.mig}
        found = {}
        for uuid, own in links.items():
            name = gpus[uuid][1].name
            peers = [links[other] for other in links if other != uuid and gpus[other][1].name == name]
            if peers and (missing := _missing(own, peers)):
                down = [link for link in sorted(missing) if self._is_down(gpus[uuid][0], link)]
                if down:
                    found[uuid] = Finding(FindingKind.NVLINK, _inactive(down))
        return found

    def _fabric(self, handle: Any, gpu: Gpu) -> Iterator[Finding]:  # noqa: ANN401 - NVML's handle
        info = None if gpu.mig else read_fabric(self._nvml, handle)
        if info is None:
            return
        if state := fabric_state(info):
            yield Finding(FindingKind.FABRIC, state)
        if health := fabric_health(info):
            yield Finding(FindingKind.FABRIC_HEALTH, health)

    def _pcie(self, handle: Any, _gpu: Gpu) -> Iterator[Finding]:  # noqa: ANN401 - NVML's handle
        """Compare the width only: an idle GPU lowers the generation of its link."""
        width = self._nvml.ask("nvmlDeviceGetCurrPcieLinkWidth", handle)
        most = self._nvml.ask("nvmlDeviceGetMaxPcieLinkWidth", handle)
        if width and most and width < most:
            yield Finding(FindingKind.PCIE, f"its PCIe link has only {width} of {most} lanes")

    def _memory(self, handle: Any, _gpu: Gpu) -> Iterator[Finding]:  # noqa: ANN401 - NVML's handle
        rows = self._nvml.ask("nvmlDeviceGetRemappedRows", handle)
        if rows is not None and rows[2]:
            yield Finding(FindingKind.REMAP, "faulty memory rows will be replaced by spare ones at its next reset")
        if rows is None and self._nvml.ask("nvmlDeviceGetRetiredPagesPendingStatus", handle):
            yield Finding(FindingKind.REMAP, "faulty memory pages will be retired at its next reset")

    def _temperature(self, handle: Any, gpu: Gpu) -> Iterator[Finding]:  # noqa: ANN401 - NVML's handle
        if gpu.uuid not in self._slowdown:
            kind = pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
            self._slowdown[gpu.uuid] = self._nvml.ask("nvmlDeviceGetTemperatureThreshold", handle, kind) or 0
        limit = self._slowdown[gpu.uuid]
        if not limit:
            return
        temperature = self._nvml.ask("nvmlDeviceGetTemperature", handle, pynvml.NVML_TEMPERATURE_GPU)
        if temperature is not None and temperature >= limit:
            # Without the temperature, so that the text stays the same while the finding lasts.
            yield Finding(FindingKind.TEMPERATURE, f"it is hotter than the {limit} °C at which it slows down")

    def _links(self, handle: Any) -> Links:  # noqa: ANN401 - NVML's handle
        active: set[int] = set()
        switched = False
        for link in range(pynvml.NVML_NVLINK_MAX_LINKS):
            try:
                state = self._nvml.ask("nvmlDeviceGetNvLinkState", handle, link)
                if state is None:
                    break
                if state and not active:
                    switched = self._nvml.ask("nvmlDeviceGetNvLinkRemoteDeviceType", handle, link) == _SWITCH
            except NvmlError:
                # Links are numbered from 0: the card has no further ones.
                break
            if state:
                active.add(link)
        return Links(frozenset(active), switched)

    def _is_down(self, handle: Any, link: int) -> bool:  # noqa: ANN401 - NVML's handle
        """Check a link that seems inactive: drivers from 525 on distinguish sleeping links, as on an idle GPU."""
        field = (pynvml.NVML_FI_DEV_NVLINK_GET_STATE, link)
        try:
            values = self._nvml.ask("nvmlDeviceGetFieldValues", handle, [field])
        except NvmlError:
            return False
        if values is None or values[0].nvmlReturn != pynvml.NVML_SUCCESS:
            return True
        state: int = values[0].value.uiVal
        return state == int(pynvml.NVML_NVLINK_STATE_INACTIVE)


def _missing(own: Links, peers: list[Links]) -> frozenset[int]:
    """Return the links that are active on all peers, but not on this GPU.

    A GPU without active links is not faulty unless its peers are on switches: bridges connect only some GPUs of a node.
    """
    if not own.active and not all(peer.switched for peer in peers):
        return frozenset()
    return frozenset.intersection(*(peer.active for peer in peers)) - own.active


def _inactive(links: list[int]) -> str:
    numbers = ", ".join(map(str, links))
    one = len(links) == 1
    what = f"NVLink {numbers} is inactive, but" if one else f"NVLinks {numbers} are inactive, but"
    return f"its {what} active on all other GPUs of this model"
