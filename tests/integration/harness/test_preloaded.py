"""A process that the preloading server forks is like one that its command starts."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hub.base.interpreter import own_python
from hub.testing.plugin import environment_without_hub
from tests.harness.preloaded import SERVERS

DUMP = """
import json, os, re, sys
from pathlib import Path
import hub

class Dump(hub.Plugin):
    resource = "example.com/dump"

    def __init__(self, *args):
        super().__init__(*args)
        status = Path("/proc/self/status").read_text()
        umask = os.umask(0)
        streams = [[s.fileno(), s.encoding, s.errors, s.line_buffering] for s in (sys.stdin, sys.stdout, sys.stderr)]
        facts = {
            "argv": [sys.argv[1:], sys.orig_argv, Path("/proc/self/cmdline").read_text().split("\\0")],
            "environment": dict(os.environ),
            "directory": os.getcwd(),
            "umask": umask,
            "session": os.getsid(0) == os.getpid(),
            "parent": os.getppid(),
            "signals": re.findall(r"(?:SigBlk|SigIgn|SigCgt):\\s+(\\w+)", status),
            "files": [os.readlink(f"/proc/self/fd/{n}") for n in range(3)],
            "path": sys.path,
            "flags": list(sys.flags),
            "main": sys.modules["__main__"].__spec__.name,
            "streams": streams,
        }
        Path("facts.json").write_text(json.dumps(facts))

    def devices(self):
        return []
"""

EXITS = "import os\nos._exit(7)\n"


def _started(directory: Path, environment: Mapping[str, str], **options: Any) -> dict[str, Any]:  # noqa: ANN401 - as in subprocess
    """Start the plugin's check, and return what it found out about its process."""
    command = own_python("hub.plugin", "dump.py:Dump", "--check")
    with subprocess.Popen(command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, **options) as process:
        out, _ = process.communicate()
    assert process.returncode == 0, out
    facts: dict[str, Any] = json.loads((directory / "facts.json").read_text())
    facts["argv"][2] = [word for word in facts["argv"][2] if word.strip()]
    facts["files"] = [name.partition(":")[0] for name in facts["files"]]
    return facts


def _both(directory: Path, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - as in subprocess
    """Start it in both ways, and check that it sees the same."""
    (directory / "dump.py").write_text(DUMP)
    environment = environment_without_hub() | {"DPHUB_RUN_DIR": str(directory / "run"), "ODD": "ü\udcff"}
    forked = _started(directory, environment, **options)
    assert SERVERS
    run = _started(directory, environment | {"MARK": "x"}, **options)
    assert run["environment"].pop("MARK") == "x"
    assert forked == run
    return forked


def test_it_sees_the_same(directory: Path) -> None:
    """Arguments, variables, files, signals and the module search path are those of the command."""
    facts = _both(directory, stdout=subprocess.PIPE)
    assert facts["parent"] == os.getpid()
    assert facts["files"][0] == "/dev/null"


def test_it_inherits_what_a_command_inherits(directory: Path) -> None:
    """Blocked and ignored signals, the umask, and a session of its own."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    ignored = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    umask = os.umask(0o027)
    try:
        facts = _both(directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    finally:
        os.umask(umask)
        signal.signal(signal.SIGUSR1, ignored)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    assert facts["session"]
    assert int(facts["signals"][0], 16) >> signal.SIGUSR2 - 1 & 1
    assert int(facts["signals"][1], 16) >> signal.SIGUSR1 - 1 & 1


def test_its_exit_code_is_known(directory: Path) -> None:
    """However it exits, the process that started it knows how."""
    (directory / "dump.py").write_text(EXITS)
    command = own_python("hub.plugin", "dump.py:Dump", "--check")
    assert subprocess.run(command, cwd=directory, capture_output=True, check=False).returncode == 7
    with subprocess.Popen(own_python("hub", "fake-kubelet", directory), stdout=subprocess.DEVNULL) as process:
        process.kill()
    assert process.returncode == -signal.SIGKILL
