"""Commands never run files around them that another user may have written."""

import importlib.util
import marshal
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec
import pytest

from hub.base.exits import Exit
from hub.model.check import CheckReport
from hub.model.hub import HubReport, InstanceReport
from hub.testing.waiting import WAIT_SECONDS
from tests.harness.hub_process import wait_until
from tests.integration.cli.plain_user import UNPRIVILEGED_ID, command, environment, needs_setpriv

DPHUB = Path(sys.executable).with_name("dphub")
IMPORTED = (
    "hub",
    "plugins",
    "msgspec",
    "click",
    "circus",
    "zmq",
    "yaml",
    "structlog",
    "grpc",
    "asyncio",
    "json",
    "argparse",
)
"""What commands and plugins import from this project, from other packages, and from Python."""

STUB = "[watcher:stub]\ncmd = python -m hub.plugin plugins.stub:Stub\n"


@pytest.fixture
def ours() -> Iterator[Path]:
    """Create a directory of the user who runs the command."""
    with tempfile.TemporaryDirectory(prefix="dp", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
def theirs(ours: Path) -> Path:
    """Create a directory with modules that leave a mark when they run."""
    directory = ours / "theirs"
    directory.mkdir()
    for name in IMPORTED:
        (directory / f"{name}.py").write_text(f"open({str(ours / 'ran')!r}, 'a').write('{name} ')\n")
    return directory


def _what_ran(ours: Path) -> str:
    return (ours / "ran").read_text() if (ours / "ran").exists() else ""


def _dphub(
    *words: str | Path, cwd: Path, stdin: IO[bytes] | int = subprocess.DEVNULL, **variables: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [DPHUB, *map(str, words)],
        cwd=cwd,
        env=_environment(**variables),
        stdin=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
    )


def _environment(**variables: str) -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("DPHUB_")}
    return {**mine, "DPHUB_HTTP": "off", **variables}


@pytest.mark.parametrize(
    "words", [["check"], ["check", "--plugin", "plugins.stub:Stub", "--scan"], ["demo", "--json"]], ids=" ".join
)
def test_no_command_runs_modules_of_its_directory(ours: Path, theirs: Path, words: list[str]) -> None:
    """A command that is started in another user's directory runs none of that user's modules."""
    done = _dphub(*words, cwd=theirs)
    assert (done.returncode, _what_ran(ours)) == (Exit.OK, ""), done


def test_no_plugin_runs_modules_of_the_hubs_directory(ours: Path, theirs: Path) -> None:
    """Plugins of a hub that is started in another user's directory run none of that user's modules."""
    (ours / "circus.ini").write_text(STUB)
    flags = ("--config", ours / "circus.ini", "--run-dir", ours / "run", "--plugin-dir", ours / "plugins")
    with subprocess.Popen([DPHUB, "run", *flags], cwd=theirs, env=_environment(), stderr=subprocess.PIPE) as hub:
        try:
            wait_until((ours / "run/dphub.stub.json").exists, "the plugin's report")
        finally:
            hub.send_signal(signal.SIGTERM)
            _, log = hub.communicate(timeout=WAIT_SECONDS)
    assert (hub.returncode, _what_ran(ours)) == (Exit.OK, ""), log


SAME_COMMANDS = (
    "cmd = python -m hub.plugin plugins.stub:Stub",
    "cmd = python\nargs = -m hub.plugin plugins.stub:Stub",
    "cmd = python3 -m hub.plugin plugins.stub:Stub",
    "cmd = python\t-m hub.plugin plugins.stub:Stub",
    "cmd = 'python' -u -m hub.plugin plugins.stub:Stub",
    "cmd = $(circus.env.program) -m hub.plugin plugins.stub:Stub\n[env]\nPROGRAM = python3",
)


def test_no_plugin_runs_modules_of_its_working_directory(ours: Path, theirs: Path) -> None:
    """However the command is written, `-m hub.plugin` imports nothing from another user's `working_dir`."""
    sections = [f"[watcher:w{at}]\nworking_dir = {theirs}\n{command}\n" for at, command in enumerate(SAME_COMMANDS)]
    (ours / "circus.ini").write_text("".join(sections))
    flags = ("--config", ours / "circus.ini", "--run-dir", ours / "run", "--plugin-dir", ours / "plugins")
    reports = [ours / f"run/dphub.w{at}.json" for at in range(len(SAME_COMMANDS))]
    with subprocess.Popen([DPHUB, "run", *flags], cwd=ours, env=_environment(), stderr=subprocess.PIPE) as hub:
        try:
            wait_until(lambda: _what_ran(ours) or all(path.exists() for path in reports), "the plugins' reports")
        finally:
            hub.send_signal(signal.SIGTERM)
            _, log = hub.communicate(timeout=WAIT_SECONDS)
    assert (hub.returncode, _what_ran(ours)) == (Exit.OK, ""), log


EVIL_PLUGIN = "cmd = python -m hub.plugin"


@pytest.mark.parametrize(
    ("section", "load"),
    [
        ("cmd = {theirs}/evil.sh -m hub.plugin plugins.stub:Stub", False),
        ("cmd = {theirs}/evil.sh -m hub.plugin plugins.stub:Stub", True),
        ("cmd = {theirs}/evil.sh", True),
        ("cmd = $(circus.env.PROGRAM) -m hub.plugin plugins.stub:Stub\n[env]\nPROGRAM = {theirs}/evil.sh", True),
        (f"{EVIL_PLUGIN} msgspec.py:Evil", False),
        (f"{EVIL_PLUGIN} {{theirs}}/msgspec.py:Evil", False),
        (f"{EVIL_PLUGIN} plugins.evil.py:Evil", False),
        (f"{EVIL_PLUGIN} evil:Evil\n[env]\nPYTHONPATH = {{theirs}}", False),
        (f"{EVIL_PLUGIN} plugins.stub:Stub\n[env]\nPYTHONPATH = {{theirs}}", False),
        (f"{EVIL_PLUGIN} plugins.stub:Stub\n[env]\nPYTHONHOME = {{theirs}}", False),
        (f"{EVIL_PLUGIN} plugins.stub:Stub\nworking_dir = {{theirs}}\n[env]\nPATH = {{theirs}}", False),
        ("cmd = python\n[env]\nPATH = {theirs}", False),
    ],
)
def test_a_check_runs_nothing_that_the_file_names(ours: Path, theirs: Path, section: str, *, load: bool) -> None:
    """Another user's circus.ini can be checked: neither its programs nor, without --load, its plugins are run."""
    for name in ("evil.sh", "python"):
        (theirs / name).write_text(f"#!/bin/sh\necho {name} >> {ours}/ran\n")
        (theirs / name).chmod(0o755)
    for name in ("evil.py", "plugins.evil.py", "sitecustomize.py"):
        (theirs / name).write_text(f"open({str(ours / 'ran')!r}, 'a').write('{name} ')\n")
    config = theirs / "circus.ini"
    config.write_text(f"[watcher:evil]\n{section.format(theirs=theirs)}\n")
    done = _dphub("check", *(["--load"] if load else []), config, cwd=ours)
    assert (done.returncode, _what_ran(ours)) == (Exit.OK, ""), done


def test_a_check_on_a_terminal_is_not_interactive(ours: Path) -> None:
    """This holds even if the file sets PYTHONINSPECT, with which Python reads commands from a terminal."""
    (ours / "circus.ini").write_text(f"[env]\nPYTHONINSPECT = 1\nHOME = {ours}\n{STUB}")
    typist, terminal = os.openpty()
    with os.fdopen(typist, "wb", buffering=0) as keyboard, os.fdopen(terminal, "rb", buffering=0) as screen:
        keyboard.write(f"open({str(ours / 'ran')!r}, 'w').write('typed')\n\x04".encode())
        done = _dphub("check", ours / "circus.ini", cwd=ours, stdin=screen)
    assert (done.returncode, _what_ran(ours)) == (Exit.OK, ""), done
    assert not (ours / ".python_history").exists()


def test_a_check_scans_nothing_that_the_file_names(ours: Path) -> None:
    """A scan may load a driver's library, so --scan in a command of circus.ini is rejected, even from a variable."""
    (ours / "circus.ini").write_text(f"{STUB.strip()} --scan\n")
    done = _dphub("check", cwd=ours)
    assert (done.returncode, "--scan: the hub sets this; remove it" in done.stderr) == (Exit.USAGE, True), done
    words = ("-m", "hub.plugin", "--check", "--shipped-only", "plugins.stub:Stub", "--scan")
    report = subprocess.run([sys.executable, *words], capture_output=True, check=True, timeout=WAIT_SECONDS).stdout
    assert msgspec.json.decode(report, type=CheckReport).devices is None


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")


def _give_to(user: int, *paths: Path) -> None:
    for path in paths:
        os.chown(path, user, user)


@needs_root
@pytest.mark.parametrize("word", ["run", "check"])
def test_root_runs_no_commands_of_other_users(ours: Path, theirs: Path, word: str) -> None:
    """As root, `dphub run` in another user's directory rejects the circus.ini there, and `dphub check` says so."""
    config = theirs / "circus.ini"
    config.write_text(f"[watcher:evil]\ncmd = touch {ours}/ran\n")
    _give_to(UNPRIVILEGED_ID, theirs, config)
    done = _dphub(word, cwd=theirs, DPHUB_RUN_DIR=str(ours / "run"), DPHUB_PLUGIN_DIR=str(ours / "plugins"))
    assert (done.returncode, _what_ran(ours)) == (Exit.USAGE, ""), done
    assert f"{theirs} belongs to user" in done.stderr
    assert "root would run its contents; copy it to" in done.stderr


@needs_root
@needs_setpriv
def test_no_user_runs_commands_of_others_by_default(ours: Path, theirs: Path) -> None:
    """A circus.ini that another user put into the current directory is used only if the user names it."""
    config = theirs / "circus.ini"
    config.write_text("[watcher:a]\ncmd = sleep 9\n")
    ours.chmod(0o755)
    _give_to(UNPRIVILEGED_ID - 1, theirs, config)
    words, variables = command("check"), environment()
    words[words.index("-m") : words.index("-m")] = ["-P"]
    done = subprocess.run(words, cwd=theirs, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, "so it is not used by default; name it" in done.stderr) == (Exit.USAGE, True), done
    words.append(str(config))
    done = subprocess.run(words, cwd=theirs, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, "1 plugin" in done.stdout, _what_ran(ours)) == (Exit.OK, True, ""), done


@needs_root
def test_root_loads_no_plugin_of_other_users(ours: Path) -> None:
    """As root, a plugin in a file that another user can write is not loaded, not even by `dphub check`."""
    (ours / "evil.py").write_text(f"open({str(ours / 'ran')!r}, 'a').write('evil')\n")
    _give_to(UNPRIVILEGED_ID, ours / "evil.py")
    done = _dphub("check", "--plugin", "evil.py:Evil", cwd=ours)
    assert (done.returncode, _what_ran(ours)) == (Exit.USAGE, ""), done
    assert "evil.py: belongs to user" in done.stderr


@needs_root
def test_root_runs_no_compiled_plugin_of_other_users(ours: Path) -> None:
    """Python would run the code that another user has left in `__pycache__` instead of the file; it is not run."""
    plugin = ours / "mine.py"
    plugin.write_text("from hub import Plugin\n\n\nclass Mine(Plugin):\n    resource = 'example.com/mine'\n")
    evil = compile(f"open({str(ours / 'ran')!r}, 'a').write('evil')", plugin, "exec")
    found = plugin.stat()
    compiled = Path(importlib.util.cache_from_source(plugin))
    compiled.parent.mkdir()
    header = importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, int(found.st_mtime), found.st_size)
    compiled.write_bytes(header + marshal.dumps(evil))
    _give_to(UNPRIVILEGED_ID, compiled.parent, compiled)
    done = _dphub("check", "--plugin", "mine.py:Mine", cwd=ours)
    assert (_what_ran(ours), "does not exist" in done.stderr) == ("", False), done


@needs_root
def test_a_run_directory_of_another_user_names_no_configuration(ours: Path, theirs: Path) -> None:
    """`dphub reload` checks the configuration that a hub reports; another user's report makes root load no code."""
    (theirs / "circus.ini").write_text("[watcher:evil]\ncmd = python -m hub.plugin evil.py:Evil\n")
    (theirs / "evil.py").write_text(f"open({str(ours / 'ran')!r}, 'a').write('evil')\n")
    hub = HubReport("1", os.getpid(), time.time(), "dphub", str(theirs / "circus.ini"), "/", str(theirs))
    (theirs / "dphub.json").write_bytes(msgspec.json.encode(InstanceReport(hub, ())))
    (theirs / "dphub.heartbeat").touch()
    _give_to(UNPRIVILEGED_ID, theirs, *theirs.iterdir())
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(theirs / "dphub.control"))
        control.listen()
        # Without the check, the command would wait for the hub, which never answers.
        command = [DPHUB, "reload", "--run-dir", theirs]
        with subprocess.Popen(command, cwd=ours, env=_environment(), stderr=subprocess.PIPE, text=True) as reload:
            assert reload.stderr
            line = reload.stderr.readline()
            reload.kill()
    assert (f"{theirs} belongs to user" in line, _what_ran(ours)) == (True, ""), line
