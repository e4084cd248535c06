"""What another user has left next to a plugin's file never runs as root."""

import importlib.util
import marshal
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from hub.testing.waiting import WAIT_SECONDS

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")

OTHER_USER = 12345

PLUGIN = """
from hub import Device, Plugin

class Mine(Plugin):
    resource = "example.com/mine"
    reset = "MODULE:reset"

    def devices(self):
        return [Device("a")]

def reset(device, settings):
    pass
"""

CHECK = ("-P", "-m", "hub.plugin", "mine.py:Mine", "--check")

RUN_RESET = """
import asyncio
from hub import ResetDevice
from hub.plugin.loading import load_plugin
from hub.reset.runner import ResetRunner

async def main():
    runner = ResetRunner(load_plugin("mine.py:Mine").reset, dict)
    result = (await runner.reset([ResetDevice("a", (), "/")], 25))["a"]
    print(result.outcome, result.cause)

asyncio.run(main())
"""
"""A program that runs a reset as a plugin process does before a container starts."""


@pytest.fixture
def ours() -> Iterator[Path]:
    """Create a directory that only root can write to."""
    with tempfile.TemporaryDirectory(prefix="dp", dir="/tmp") as directory:
        yield Path(directory)


@pytest.mark.parametrize("module", ["mine", "helper", "package.helper", "namespace.helper"])
@pytest.mark.parametrize("importer", ["reset", "plugin"])
def test_root_runs_no_compiled_modules_of_other_users(ours: Path, module: str, importer: str) -> None:
    """Neither a plugin process nor a reset runs them, whether the plugin is in a file of its own or imports others."""
    _write_plugin(ours, module, importer)
    file = ours / f"{module.replace('.', '/')}.py"
    found = file.stat()
    header = importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, int(found.st_mtime), found.st_size)
    compiled = Path(importlib.util.cache_from_source(file))
    compiled.parent.mkdir()
    compiled.write_bytes(header + marshal.dumps(compile(_leaves_mark(ours), file, "exec")))
    _give_away(compiled.parent, compiled)
    shown = _python(*CHECK, cwd=ours)
    assert (msgspec.json.decode(shown)["problems"], _marks(ours)) == ([], [])
    assert (_python("-P", "-c", RUN_RESET, cwd=ours), _marks(ours)) == ("ok reset of a succeeded", [])


@pytest.mark.parametrize("importer", ["reset", "plugin"])
def test_root_imports_no_modules_of_other_users(ours: Path, importer: str) -> None:
    """A module that another user can write to is rejected, like a plugin's file."""
    _write_plugin(ours, "helper", importer)
    (ours / "helper.py").write_text(_leaves_mark(ours))
    _give_away(ours / "helper.py")
    for command in (CHECK, ("-P", "-c", RUN_RESET)):
        shown = _python(*command, cwd=ours)
        assert ("helper.py: belongs to user 12345" in shown, _marks(ours)) == (True, []), shown


def _write_plugin(ours: Path, module: str, importer: str) -> None:
    for name in ("package", "namespace"):
        (ours / name).mkdir()
    (ours / "package/__init__.py").touch()
    (ours / f"{module.replace('.', '/')}.py").write_text("def reset(device, settings):\n    pass\n")
    text = PLUGIN.replace("MODULE", module if importer == "reset" else "mine")
    (ours / "mine.py").write_text(text if importer == "reset" else f"{text}\nimport {module}\n")


def _leaves_mark(ours: Path) -> str:
    return f"open({str(ours / 'mark')!r}, 'a').write('theirs ')\ndef reset(device, settings): pass\n"


def _marks(ours: Path) -> list[str]:
    return (ours / "mark").read_text().split() if (ours / "mark").exists() else []


def _give_away(*paths: Path) -> None:
    for path in paths:
        os.chown(path, OTHER_USER, OTHER_USER)


def _python(*words: str, cwd: Path) -> str:
    """Run Python, and return what it printed."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
    )
    return (done.stdout or done.stderr).strip()
