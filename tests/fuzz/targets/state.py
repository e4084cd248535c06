"""The run directory, as each of its readers reads it."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec

from hub.api.affinity import read_allocation_hint
from hub.api.device import Device
from hub.api.health import RecoveryPolicy
from hub.api.runtime import Runtime
from hub.base.errors import HubError
from hub.base.featurefiles import label_problem
from hub.base.instances import exited_hubs, running_hubs, serving
from hub.base.ownerfile import OwnerFile
from hub.base.paths import RunDir
from hub.cli import cli
from hub.kubelet.checkpoint import Checkpoint
from hub.plugin.devices.nodelabels import NodeLabels
from hub.plugin.health.record import BROKEN
from hub.plugin.health.store import HealthStore
from hub.plugin.history import History
from hub.plugin.ownership import Ownership
from hub.status.prometheus import expose
from hub.status.reader import Reader
from hub.supervisor.exitreason import last_error
from hub.supervisor.http.server import serve_socket
from hub.supervisor.watchdog import Watchdog
from hub.testing.waiting import wait_until
from plugins.gpu.mps.records import MpsRecords
from plugins.ib.reset.unbound import records
from plugins.stub.faults import read_faults
from tests.fuzz.choices import Choices
from tests.fuzz.pieces import Directory, Input, Piece, edited_files
from tests.fuzz.target import Fault, Target
from tests.fuzz.targets.samples import HISTORY_FILE, LOGS, PID, PLUGIN_FILES, REPORTS, control_character
from tests.unit.plugin.plugin_setup import Setup


def _directory(root: Path, files: Mapping[str, bytes]) -> Directory:
    return Directory(root, [Piece.of(content, name) for name, content in files.items()])


class Reports(Target):
    """Reports, heartbeats and locks, as the status, the metrics, the watchdog and other hubs read them."""

    inputs = 600

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._files = _directory(directory / "run", REPORTS)
        arbiter: Any = SimpleNamespace(watchers=[])
        self._watchdog = Watchdog(RunDir(self._files.root), arbiter)

    def make(self, choices: Choices) -> Input:
        """Change the files."""
        return edited_files(choices, REPORTS, ("dphub.heartbeat", "x.lock", "serving/other.stub.lock", "\xff.lock"))

    def consume(self, pieces: Input) -> None:
        """Read the files; only the hub's own report may cause an error."""
        self._files.change(pieces)
        run_dir = RunDir(self._files.root)
        running_hubs(run_dir)
        exited_hubs(run_dir)
        serving(run_dir, "stub")
        OwnerFile(run_dir.owner("example.com/stub"), "dphub").read()
        self._watchdog._sample("stub", PID)
        reader = Reader(run_dir)
        for running in (True, False):
            try:
                status = reader.status(running=running)
            except HubError as error:
                if all(piece.name != run_dir.hub_report.name for piece in pieces):
                    raise Fault("a file of a plugin hides the whole status") from error
                raise
            msgspec.json.encode(status)
            heartbeats = {each.name: reader.heartbeat(each.process) for each in status.plugins}
            expose(status, {name: heartbeat for name, heartbeat in heartbeats.items() if heartbeat})


class Web(Target):
    """The same files behind the hub's HTTP endpoints: whatever is in them, each endpoint answers."""

    inputs = 350

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._files = _directory(directory / "run", REPORTS)
        self._socket = directory / "http"
        self._runner = asyncio.Runner()
        self._runner.run(self._start())

    async def _start(self) -> None:
        self._serving = asyncio.ensure_future(serve_socket(self._socket, Reader(RunDir(self._files.root))))
        await wait_until(self._socket.exists, "the socket")

    def make(self, choices: Choices) -> Input:
        """Change the files."""
        return edited_files(choices, REPORTS)

    def consume(self, pieces: Input) -> None:
        """Request each endpoint."""
        self._files.change(pieces)
        for path in ("/status", "/metrics", "/readyz"):
            code = self._runner.run(self._get(path))
            if code not in {200, 503}:
                raise Fault(f"{path} answers with {code}")

    async def _get(self, path: str) -> int:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            return int((await reader.read()).split(b" ", 2)[1])
        finally:
            writer.close()

    def close(self) -> None:
        """Stop the server."""
        self._serving.cancel()
        self._runner.close()


class Commands(Target):
    """The same files, the logs and a history, as commands show them: without exceptions and control characters."""

    inputs = 350
    COMMANDS: ClassVar[Sequence[Sequence[str]]] = (
        ("status",),
        ("status", "stub"),
        ("status", "--json"),
        ("devices",),
        ("devices", "card-0"),
        ("history",),
        ("history", "stub-0", "--json"),
        ("logs", "-n", "0"),
        ("logs", "stub", "--json"),
        ("health",),
        ("cordon", "stub-0"),
        ("restart", "stub"),
    )
    FILES: ClassVar[Mapping[str, bytes]] = REPORTS | LOGS | {HISTORY_FILE: PLUGIN_FILES[HISTORY_FILE]}

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._files = _directory(directory / "run", self.FILES)

    def make(self, choices: Choices) -> Input:
        """Choose a command and change the files."""
        words = choices.below(len(self.COMMANDS))
        return [Piece(str(words), "command"), *edited_files(choices, self.FILES)]

    def consume(self, pieces: Input) -> None:
        """Run the command."""
        command, *files = pieces
        self._files.change(files)
        words = [*self.COMMANDS[int(command.text)], "--run-dir", str(self._files.root)]
        printed = self.directory / "printed"
        # This must be a real file, because a command that cannot write replaces its descriptor.
        with (
            printed.open("w", encoding="utf-8") as out,
            redirect_stdout(out),
            redirect_stderr(out),
            suppress(SystemExit),
        ):
            cli.main(words, prog_name="dphub")
        if "--json" not in words and (found := control_character(printed.read_text(encoding="utf-8"))):
            raise Fault(f"dphub {words[0]} prints the control character {found!r}")


class PluginFiles(Target):
    """Health, history, hints, records of resets, MPS markers, labels, faults of the stub, a log, the checkpoint."""

    inputs = 600

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._files = _directory(directory / "run", PLUGIN_FILES)
        self._runner = asyncio.Runner()

    def make(self, choices: Choices) -> Input:
        """Change the files."""
        return edited_files(choices, PLUGIN_FILES, ("node/ib.unbound/\xff", "node/ib.unbound/x\x1b"))

    def consume(self, pieces: Input) -> None:
        """Read each file; only the fault file may cause errors, since a person writes it."""
        self._files.change(pieces)
        self._runner.run(self._read(self._files.root))

    async def _read(self, root: Path) -> None:
        """Read the files, in the event loop that a health store needs."""
        last_error(root / "dphub.stub.log", 0)
        read_allocation_hint(Runtime(str(root), "dphub", "ib"), "gpu")
        records(str(root / "node/ib.unbound"))
        MpsRecords(Runtime(str(root), "dphub", "gpu")).read()
        ownership, external = Ownership(None, "stub", root), root / "external"
        store = HealthStore(root / "node/stub.health.json", RecoveryPolicy(), ownership, external=external)
        store.advance()
        store.health_of("example.com/stub", Device("stub-1"))
        _ = store.failing(BROKEN)
        _remove(root / "node/stub.health.unreadable")
        self._read_history(root)
        Checkpoint(root).held("example.com/stub")
        _check_labels(root)
        read_faults(root / "stub-faults.yaml")

    def _read_history(self, root: Path) -> None:
        """Read the history as at a process's start, and end its entries without writing; no counter is negative."""
        it = Setup()
        history = History(root / HISTORY_FILE, it.inventory, it.ownership, it.metrics)
        history._load()
        history._end_others({}, 1_800_000_000)
        history._publish_seconds()
        found = [each.value for metric in it.metrics.metrics() if "held" in metric.name for each in metric.samples]
        if any(isinstance(value, float) and value < 0 for value in found):
            raise Fault("a negative counter")
        _remove(root / "node/stub.history.unreadable")

    def close(self) -> None:
        """Close the event loop."""
        self._runner.close()


def _check_labels(root: Path) -> None:
    """Read the labels that an earlier process has written: whatever they are, only valid ones are kept."""
    inventory: Any = SimpleNamespace()
    labels = NodeLabels(root, "stub", inventory, Ownership(None, "stub", root))
    if [name for name, value in labels._labels.items() if label_problem(name, value)]:
        raise Fault("an invalid label is taken over")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
