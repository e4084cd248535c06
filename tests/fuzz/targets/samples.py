"""The run directory of a node without problems."""

import re
from collections.abc import Mapping

import msgspec

from hub.api.affinity import AllocationHint
from hub.api.metrics import Histogram, Kind, Metric, Sample
from hub.base.featurefiles import features_text
from hub.kubelet.checkpoint import CHECKPOINT
from hub.model.heartbeat import HeartbeatReport
from hub.model.history import Allocation, AllocationHistory, DeviceSeconds, HealthChange
from hub.model.hub import HubReport, InstanceReport, LastExit, ProcessReport, RestartReason, RunState
from hub.model.node import Condition, HubStatus, NodeStatus, PluginStatus, Problem, Severity
from hub.model.plugin import (
    ConfigFile,
    DeviceStatus,
    ExcludedDevice,
    PluginReport,
    RegistrationStatus,
    Rejection,
    ResetReport,
    ResourceStatus,
)
from hub.plugin.health.record import BROKEN, CORDON, Fault, HealthRecord
from plugins.gpu.mps.daemon import MpsLimits

STUB = "example.com/stub"

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")

PID = 99_999_999
"""An id that no process has, because reading the memory of a process would take longer than everything else."""

_DEVICE = DeviceStatus(
    "stub-0",
    healthy=False,
    reason="cordoned: by hand",
    numa=(0, 1),
    physical="card-0",
    health="unhealthy",
    since=1.7e9,
    source="cordon",
    pci=("0000:07:00.0",),
    upstream=("0000:00:01.0",),
    attributes={"name": "mlx5_0", "model": "X"},
    holder="default/trainer/main",
)

REPORT = PluginReport(
    "stub",
    PID,
    1.7e9,
    scanned=True,
    resources=(
        ResourceStatus(
            STUB,
            "dphub-example.com_stub.sock",
            RegistrationStatus.REGISTERED,
            1.7e9,
            1,
            "detail",
            2,
            1,
            1,
            devices=(_DEVICE, DeviceStatus("stub-1", healthy=True)),
            warnings=("/dev/x does not exist",),
            removed_in_use={"stub-9": "default/old/main"},
            rejection=Rejection("not healthy", 1.7e9, 3),
        ),
    ),
    excluded=(ExcludedDevice("stub-7", "too old"),),
    resets={"card-0": ResetReport("failed", "no answer", 1.7e9, 0.5)},
    reset_counts={"failed": 1},
    config=ConfigFile("/etc/dphub/stub.yaml", "ab" * 32),
    cordons={"card-0": "by hand"},
)

INSTANCE = InstanceReport(
    HubReport(
        "1.0.0",
        PID,
        1.7e9,
        "dphub",
        "/etc/dphub/circus.ini",
        "/var/lib/kubelet/device-plugins",
        "/",
        node="node-1",
        kubelet_since=1.7e9,
        kubelet_starts=2,
        config_error="[watcher:x] cmd: missing",
        failures={"watchdog": "OSError"},
    ),
    (
        ProcessReport("stub", RunState.RUNNING, PID, 1.7e9, 1, {RestartReason.CRASHED: 1}),
        ProcessReport(
            "gpu", RunState.BACKING_OFF, last_exit=LastExit(1, 1.7e9, "killed by SIGSEGV", -11), next_start=1.8e9
        ),
    ),
)

NODE_STATUS = NodeStatus(
    time=1.7e9,
    node="node-1",
    ok=False,
    ready=True,
    problems=(Problem(Severity.WARNING, "stub", "1 of 2 devices is unhealthy", "dphub uncordon stub-0"),),
    hub=HubStatus(running=True, unresponsive=False, last_heartbeat=1.7e9, memory=1, report=INSTANCE.hub),
    plugins=(
        PluginStatus(
            name="stub",
            condition=Condition.REGISTERED,
            message="",
            last_heartbeat=1.7e9,
            log_level="info",
            memory=1 << 20,
            process=INSTANCE.processes[0],
            report=REPORT,
        ),
    ),
)
"""The hub's response to a request for /status."""

HEARTBEAT = HeartbeatReport(
    PID,
    3,
    10,
    "info",
    (
        Metric("dphub_calls_total", "Calls.", [Sample(3, {"method": "Allocate"})], Kind.COUNTER),
        Metric("dphub_call_seconds", "Time.", [Sample(Histogram((0.1, 1.0), [1, 2, 3], 4.5))], Kind.HISTOGRAM),
        Metric("gpu_power", "Watts.", [Sample(1.5, {"gpu": "0"}), Sample(2.5)]),
    ),
)

LOG = b"".join(
    msgspec.json.encode(line) + b"\n"
    for line in (
        {"event": "process started", "level": "info", "timestamp": "2026-01-01T00:00:00.000000Z", "plugin": "stub"},
        {
            "event": "scan failed",
            "level": "error",
            "timestamp": "2026-01-01T00:00:01Z",
            "plugin": "stub",
            "reason": "no",
        },
        {"event": "x", "level": "error", "timestamp": "2026-01-01T00:00:02Z", "exception": "Traceback\n  at\nE: no"},
    )
)

HEALTH = {
    "card-0": HealthRecord({BROKEN: Fault("ECC", 1.7e9)}, {CORDON: Fault("cordoned", 1.7e9)}, recoveries=[1.7e9]),
    f"{STUB} stub-1": HealthRecord(recovering_since=1.7e9, recovering_until="60 s without a fault"),
}

HISTORY_FILE = "node/stub.history.json"
HISTORY = AllocationHistory(
    (
        Allocation(STUB, "stub-9", "default/old/main", 1_700_000_000, 1_700_000_030),
        Allocation(
            STUB,
            "stub-0",
            "default/trainer/main",
            1_700_000_000,
            physical="card-0",
            health=(HealthChange(1_700_000_010, "unhealthy", "ECC"),),
        ),
    ),
    (DeviceSeconds(STUB, "default", 30),),
)

REPORTS: Mapping[str, bytes] = {
    "dphub.json": msgspec.json.encode(INSTANCE),
    "dphub.stub.json": msgspec.json.encode(REPORT),
    "dphub.stub.heartbeat": msgspec.json.encode(HEARTBEAT),
    "dphub.lock": f"{PID} 5000000000\n".encode(),
    "serving/dphub.stub.lock": f"{PID} 6000000000\n".encode(),
    "serving/example.com_stub.owner": b"dphub 6000000000\n",
}

LOGS: Mapping[str, bytes] = {"dphub.log": LOG, "dphub.log.1": LOG, "dphub.stub.log": LOG}

PLUGIN_FILES: Mapping[str, bytes] = {
    "node/stub.health.json": msgspec.json.encode(HEALTH),
    HISTORY_FILE: msgspec.json.encode(HISTORY),
    "node/gpu.allocated.json": msgspec.json.encode(AllocationHint(1e9, ("0000:07:00.0",), "gpu")),
    "node/ib.unbound/0000:07:00.1": b"mlx5_core\nit did not answer",
    "dphub.stub.log": LOG,
    "external/x.json": (
        b'{"device": "stub-1", "source": "test", "reason": "odd", "until": "2126-12-01T00:00:00.5+01:00"}'
    ),
    "node/gpu.mps.json": msgspec.json.encode({"nvidia.com/gpu": MpsLimits({"0": "GPU-1"}, {"0": 1024}, 2)}),
    CHECKPOINT: (
        b'{"Data":{"PodDeviceEntries":[{"PodUID":"5d1c","ContainerName":"main","ResourceName":"example.com/stub",'
        b'"DeviceIDs":{"0":["stub-0","stub-1"],"1":["stub-1"],"-1":["stub-2"]},"AllocResp":"CgA="}],'
        b'"RegisteredDevices":{"example.com/stub":["stub-3"]}},"Checksum":1}'
    ),
    "dphub-stub": features_text({"example.com/model": "x1", "dphub.dev/stub.health": "healthy"}, expiry=4e9).encode(),
    "stub-faults.yaml": b"unhealthy: {stub-0: pulled out}\ndevices: {example.com/stub: 3}\nallocate: {fail: no}\n",
}


def control_character(printed: str) -> str:
    """Return the first character in a command's output that could change what a terminal shows; empty if none does."""
    found = _CONTROL.search(printed)
    return found[0] if found else ""
