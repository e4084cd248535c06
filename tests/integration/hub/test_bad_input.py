"""Files and flags that the hub cannot use: it prints one line that says so, exits with 2, and starts nothing."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.base.exits import Exit
from tests.harness.hub_process import HubProcess, run_hub_to_end
from tests.harness.preloaded.protocol import HUB

GOOD = "[watcher:a]\ncmd = touch started\n"


def expect_refusal(directory: Path, *arguments: str | Path, says: list[str], **env: str) -> None:
    """Check that the hub prints one line with all the words, exits with 2, and has not run any plugin."""
    end = run_hub_to_end(*arguments, cwd=directory, **env)
    assert end.returncode == Exit.USAGE, end
    assert end.stdout == ""
    assert end.stderr.count("\n") == 1, end.stderr
    for word in says:
        assert word in end.stderr
    assert not (directory / "started").exists()


def flags(directory: Path, **changed: Path) -> list[str]:
    """Return flags that a hub can use, apart from what is changed."""
    paths = {
        "config": directory / "circus.ini",
        "plugin-dir": directory / "plugins",
        "run-dir": directory / "run",
    } | {name.replace("_", "-"): path for name, path in changed.items()}
    return [word for name, path in paths.items() for word in (f"--{name}", str(path))]


@pytest.fixture
def good(directory: Path) -> Path:
    """Create a directory with a valid configuration."""
    (directory / "circus.ini").write_text(GOOD)
    return directory


def test_config_is_missing(good: Path) -> None:
    """A file that does not exist is named."""
    expect_refusal(good, *flags(good, config=good / "none.ini"), says=["none.ini", "no such file"])


def test_config_is_a_directory(good: Path) -> None:
    """A directory in place of a file is named."""
    expect_refusal(good, *flags(good, config=good), says=[str(good), "is a directory, expected a file"])


def test_config_is_empty(good: Path) -> None:
    """An empty file is named."""
    (good / "circus.ini").write_text("")
    expect_refusal(good, *flags(good), says=["circus.ini", "is empty"])


def test_config_is_not_text(good: Path) -> None:
    """A file that is not text is named."""
    (good / "circus.ini").write_bytes(b"[watcher:a]\ncmd = \xff\n")
    expect_refusal(good, *flags(good), says=["circus.ini", "not UTF-8"])


def test_config_is_unreadable(good: Path) -> None:
    """A file that the kernel does not let the hub read is named, even for root, which file permissions do not stop."""
    unreadable = Path("/proc/self/mem")
    expect_refusal(good, *flags(good, config=unreadable), says=[str(unreadable), "cannot be read"])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("cmdd = x", ["[watcher:a] cmdd", "unknown key"]),
        ("graceful_timeout = soon", ["[watcher:a] graceful_timeout", "seconds"]),
        ("rlimit_none = 1", ["[watcher:a] rlimit_none", "unknown limit"]),
        ("hooks.before_start = no.such", ["[watcher:a] hooks.before_start"]),
        ("numprocesses = 2", ["[watcher:a] numprocesses"]),
        ("[circus]\nstatsd = true", ["[circus] statsd", "the hub sets this"]),
    ],
)
def test_a_mistake_in_the_file(good: Path, line: str, says: list[str]) -> None:
    """Where circus ignores a mistake, or drops the plugin with a warning, the hub does not start."""
    (good / "circus.ini").write_text(GOOD + line)
    expect_refusal(good, *flags(good), says=["circus.ini", *says])


def test_run_dir_is_a_file(good: Path) -> None:
    """A file in place of the run directory is named."""
    (good / "run").write_text("")
    expect_refusal(good, *flags(good), says=[str(good / "run"), "run directory"])


def test_run_dir_cannot_be_made(good: Path) -> None:
    """A directory that cannot be created is named; /proc refuses root as well."""
    expect_refusal(
        good,
        *flags(good, run_dir=Path("/proc/dphub")),
        says=["/proc/dphub", "run directory", "--run-dir or DPHUB_RUN_DIR"],
    )


def test_run_dir_path_is_too_long(good: Path) -> None:
    """A directory in which no unix socket can be bound is refused with the reason."""
    expect_refusal(good, *flags(good, run_dir=good / ("d" * 100)), says=["too long"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change a directory's owner")
def test_run_dir_belongs_to_another(good: Path) -> None:
    """The owner of the run directory controls the hub, so the owner must be the hub's own user."""
    (good / "run").mkdir()
    os.chown(good / "run", 12345, -1)
    expect_refusal(good, *flags(good), says=[str(good / "run"), "belongs to user 12345", "--run-dir", "DPHUB_RUN_DIR"])


def test_plugin_dir_is_a_file(good: Path) -> None:
    """A file in place of the plugin directory is named."""
    (good / "plugins").write_text("")
    expect_refusal(good, *flags(good), says=[str(good / "plugins"), "not a directory"])


def test_variables_are_equivalent_to_flags(good: Path) -> None:
    """Directories may come from the environment, and are checked in the same way."""
    (good / "plugins").write_text("")
    expect_refusal(
        good, DPHUB_PLUGIN_DIR=str(good / "plugins"), DPHUB_RUN_DIR=str(good / "run"), says=["not a directory"]
    )


@pytest.mark.parametrize(
    ("arguments", "env", "says"),
    [
        (["--log-level", "loud"], {}, "--log-level"),
        (["--log-format", "xml"], {}, "--log-format"),
        ([], {"DPHUB_LOG_LEVEL": "loud"}, "DPHUB_LOG_LEVEL"),
        (["--no-such-flag"], {}, "--no-such-flag"),
        (["word"], {}, "word"),
    ],
)
def test_bad_flags(good: Path, arguments: list[str], env: dict[str, str], says: str) -> None:
    """A flag or variable that is unknown or has a wrong value is named."""
    end = run_hub_to_end(*flags(good), *arguments, cwd=good, **env)
    assert end.returncode == Exit.USAGE
    assert says in end.stderr
    assert "Traceback" not in end.stderr
    assert not (good / "started").exists()


def test_local_configuration_is_the_default(good: Path) -> None:
    """Without --config, the circus.ini of the working directory is used."""
    (good / "circus.ini").write_text(GOOD + "oops = 1")
    expect_refusal(good, *flags(good)[2:], says=[str(good / "circus.ini"), "oops"])


UNBOUND = f"""
import zmq
def bind(self, address):
    raise zmq.ZMQError(28)
zmq.Socket.bind = bind
{HUB}
"""
"""The hub on a full disk."""


def test_socket_that_cannot_be_bound(make_hub: Callable[[str], HubProcess], directory: Path) -> None:
    """A hub that circusctl could not reach does not start, whereas circusd exits with 0 here."""
    hub = make_hub(GOOD).start(code=UNBOUND)
    assert hub.wait_for_exit() == Exit.FAILED
    assert f"dphub run: cannot listen in {directory / 'run'}" in hub.text()
    assert "Traceback" not in hub.text()
    assert not hub.events("plugin started")


def test_run_dir_is_closed_to_others(make_hub: Callable[[str], HubProcess]) -> None:
    """Only its owner has access, whatever its permissions were: anyone who can reach its sockets controls the node."""
    hub = make_hub("[watcher:a]\ncmd = sleep 1000\n")
    hub.run_dir.mkdir()
    hub.run_dir.chmod(0o755)
    hub.start().wait_plugins("a")
    assert stat.S_IMODE(hub.run_dir.stat().st_mode) == 0o700
    for socket in ("dphub.control", "dphub.events"):
        assert stat.S_IMODE((hub.run_dir / socket).stat().st_mode) & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_cannot_reach_the_hub(make_hub: Callable[[str], HubProcess]) -> None:
    """The kernel refuses the connection of any other user to the control socket."""
    hub = make_hub("[watcher:a]\ncmd = sleep 1000\n").start()
    hub.wait_plugins("a")
    hub.directory.chmod(0o755)
    connect = "import os, socket, sys; {} socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    ends = [
        subprocess.run(
            [sys.executable, "-c", connect.format(become), str(hub.run_dir / "dphub.control")],
            capture_output=True,
            text=True,
            check=False,
        )
        for become in ("", "os.setgid(65534); os.setuid(65534);")
    ]
    assert [end.returncode for end in ends] == [0, 1]
    assert "PermissionError" in ends[1].stderr


def test_second_hub_is_refused(make_hub: Callable[[str], HubProcess]) -> None:
    """A second hub on the same run directory names the first, exits with a code of its own, and changes nothing."""
    hub = make_hub("[watcher:a]\ncmd = sleep 1000\n").start()
    hub.wait_plugins("a")
    pid = hub.plugin_pid("a")
    second = run_hub_to_end(*hub.arguments(), cwd=hub.directory)
    assert second.returncode == Exit.ALREADY_RUNNING
    assert second.stderr.count("\n") == 1
    assert f"process {hub.pid}" in second.stderr
    assert str(hub.run_dir) in second.stderr
    assert hub.ask("status") == "a: active"
    assert hub.plugin_pid("a") == pid
    assert len(hub.events()) == 2


def test_lock_ends_with_the_hub(make_hub: Callable[[str], HubProcess]) -> None:
    """A hub that was killed leaves nothing that keeps the next one from starting."""
    hub = make_hub("[watcher:a]\ncmd = sleep 1000\n").start()
    hub.wait_plugins("a")
    hub.kill()
    hub.start()
    hub.wait_event("plugin started", count=2)
    assert hub.ask("status") == "a: active"


def test_help_names_flags_and_variables(directory: Path) -> None:
    """--help explains all flags and variables."""
    end = run_hub_to_end("--help", cwd=directory, COLUMNS="200")
    assert end.returncode == Exit.OK
    for word in ("--config", "--plugin-dir", "--run-dir", "DPHUB_PLUGIN_DIR", "DPHUB_RUN_DIR", "DPHUB_LOG_LEVEL"):
        assert word in end.stdout


def test_help_needs_no_circus() -> None:
    """Commands that supervise nothing do not load the supervisor."""
    code = f"import sys; sys.argv[1:] = ['--help']; import hub.cli.commands.run; print('circus' in sys.modules); {HUB}"
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert end.stdout.startswith("False")


THREADS = """
import sys, threading
from hub.base.untrusted import UnreadableError, decode_json
from hub.model.node import NodeStatus

sys.setswitchinterval(1e-6)
ready = threading.Barrier(8)

def decode():
    ready.wait()
    try:
        decode_json(b"{}", NodeStatus, "x")
    except UnreadableError:
        pass

threads = [threading.Thread(target=decode) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
"""Threads that decode a new type at the same moment."""


def test_threads_that_decode_a_new_type_at_once() -> None:
    """These threads do not crash the process, although msgspec alone would, because the type has been prepared."""
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
