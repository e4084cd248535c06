"""What the driver's programs print, which may be what a container made them say."""

import resource
import time
from pathlib import Path

import pytest

from hub import Host
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.nvml.programs import MAX_OUTPUT, ProgramFailed, run_program

NAME = "nvidia-smi"


def _program(root: Path, script: str) -> DriverPaths:
    program = root / "usr/bin" / NAME
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return DriverPaths(Host(root))


def test_output_and_input(tmp_path: Path) -> None:
    """Standard output and standard error, on one line; input is passed on, also to a program that does not read it."""
    paths = _program(tmp_path, 'echo "$1"; cat; printf "b\\377\\n" >&2')
    assert run_program(paths, NAME, ["x  y"], timeout=20, stdin="a\n") == "x y a b\\xff"
    paths.driver(f"/usr/bin/{NAME}").write_text("#!/bin/sh\nexec 0<&-; echo done\n")
    assert run_program(paths, NAME, [], timeout=20, stdin="a\n") == "done"


@pytest.mark.parametrize("code", [0, 3])
def test_long_output(tmp_path: Path, code: int) -> None:
    """Only its beginning is kept, and the program can write the rest."""
    paths = _program(tmp_path, f"echo begin; head -c 10000000 /dev/zero | tr '\\0' x; exit {code}")
    try:
        text = run_program(paths, NAME, [], timeout=20)
    except ProgramFailed as failed:
        text = str(failed)
    assert "begin xxx" in text
    assert len(text) < MAX_OUTPUT + 100
    assert ("exit code 3" in text) == bool(code)


def test_endless_output(tmp_path: Path) -> None:
    """It ends with the program's time, and takes no memory."""
    paths = _program(tmp_path, "exec cat /dev/zero")
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ProgramFailed, match="nvidia-smi did not finish within 1 s"):
        run_program(paths, NAME, [], timeout=1)
    assert time.monotonic() - begin < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10


@pytest.mark.parametrize("script", ["exec sleep 600", "exec >&- 2>&-; exec sleep 600"])
def test_a_program_that_does_not_end(tmp_path: Path, script: str) -> None:
    """Whether it has closed its output or not."""
    with pytest.raises(ProgramFailed, match=r"nvidia-smi did not finish within 0\.5 s"):
        run_program(_program(tmp_path, script), NAME, [], timeout=0.5)
