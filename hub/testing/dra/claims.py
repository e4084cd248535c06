"""The claims that a kubelet knows, and the file that keeps them across its restarts: dra_manager_state.

The format is the kubelet's own (kubernetes, pkg/kubelet/cm/dra/state). Which claims are prepared is not in the file:
a kubelet that has restarted calls the drivers again.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hub.base.errors import ConfigError
from hub.base.jsonfile import replace_bytes
from hub.testing.apiserver.kinds import Object

STATE_FILE = "dra_manager_state"
_KIND, _VERSION = "DRACheckpoint", "checkpoint.dra.kubelet.k8s.io/v1"


class PreparedDevice(msgspec.Struct, rename="pascal", frozen=True):
    """A device, as its driver has described it."""

    pool_name: str
    device_name: str
    share_id: str | None = msgspec.field(name="ShareID")
    request_names: list[str] | None
    cdi_device_ids: list[str] | None = msgspec.field(name="CDIDeviceIDs")

    def serves(self, request: str) -> bool:
        """Return whether a container that uses this request gets the device; an empty request stands for all."""
        return not request or not self.request_names or request in self.request_names


class _DriverState(msgspec.Struct, rename="pascal"):
    devices: list[PreparedDevice] | None = None


class ClaimState(msgspec.Struct, rename="pascal"):
    """A claim, as it is in the file."""

    claim_uid: str = msgspec.field(name="ClaimUID")
    claim_name: str
    namespace: str
    pod_uids: dict[str, dict[str, str]] = msgspec.field(name="PodUIDs")
    driver_state: dict[str, _DriverState]


class _Data(msgspec.Struct):
    kind: str
    api_version: str = msgspec.field(name="apiVersion")
    claims: list[ClaimState] | None = msgspec.field(name="ClaimInfoStateList")


class _Checkpoint(msgspec.Struct, rename="pascal"):
    data: str
    checksum: int


class ClaimInfo:
    """A claim that a kubelet prepares, has prepared, or unprepares."""

    def __init__(self, state: ClaimState) -> None:
        self.state = state
        self.prepared = False
        self.unpreparing = False

    @classmethod
    def of(cls, claim: Object) -> "ClaimInfo":
        """Return what a kubelet knows about a claim before it is prepared."""
        results = claim["status"]["allocation"]["devices"]["results"]
        metadata = claim["metadata"]
        drivers = {result["driver"]: _DriverState() for result in results}
        return cls(ClaimState(metadata["uid"], metadata["name"], metadata["namespace"], {}, drivers))

    @property
    def drivers(self) -> list[str]:
        """The drivers that prepare it."""
        return list(self.state.driver_state)

    def devices(self, driver: str) -> list[PreparedDevice]:
        """Return its devices of a driver."""
        return list(self.state.driver_state[driver].devices or ())

    def add_devices(self, driver: str, devices: list[PreparedDevice], *, instead: bool) -> None:
        """Add devices of a driver, or replace the previous ones."""
        known = self.state.driver_state.setdefault(driver, _DriverState())
        known.devices = ([] if instead else list(known.devices or ())) + devices or None

    def cdi_devices(self, request: str) -> list[str]:
        """Return the CDI names for a request."""
        return [
            name
            for driver in self.drivers
            for device in self.devices(driver)
            if device.serves(request)
            for name in device.cdi_device_ids or ()
        ]


class ClaimCache:
    """The claims by namespace and name.

    Args:
        path: The file.

    Raises:
        ConfigError: the file is not a checkpoint; a kubelet does not start then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._claims = {(each.namespace, each.claim_name): ClaimInfo(each) for each in _read(path)}

    def __iter__(self) -> Iterator[ClaimInfo]:
        return iter(list(self._claims.values()))

    def get(self, name: str, namespace: str) -> ClaimInfo | None:
        """Return a claim."""
        return self._claims.get((namespace, name))

    def add(self, claim: ClaimInfo) -> None:
        """Add a claim."""
        self._claims[claim.state.namespace, claim.state.claim_name] = claim

    def remove(self, name: str, namespace: str) -> None:
        """Remove a claim, if it is there."""
        self._claims.pop((namespace, name), None)

    def of_pod(self, uid: str) -> list[ClaimInfo]:
        """Return the claims that a pod uses."""
        return [claim for claim in self if uid in claim.state.pod_uids]

    def save(self) -> None:
        """Write the file."""
        data = _Data(_KIND, _VERSION, [claim.state for claim in self])
        text = msgspec.json.encode(data).decode()
        checkpoint = _Checkpoint(text, zlib.crc32(text.encode()))
        replace_bytes(self._path, msgspec.json.encode(checkpoint), mode=0o600)


def _read(path: Path) -> list[ClaimState]:
    try:
        checkpoint = msgspec.json.decode(path.read_bytes(), type=_Checkpoint)
        if zlib.crc32(checkpoint.data.encode()) != checkpoint.checksum:
            raise ConfigError(path, "checkpoint is corrupted, expected its checksum to be right; delete the file")
        return msgspec.json.decode(checkpoint.data, type=_Data).claims or []
    except FileNotFoundError:
        return []
    except msgspec.DecodeError as error:
        raise ConfigError(path, f"not a checkpoint of claims ({error}); delete the file") from None
