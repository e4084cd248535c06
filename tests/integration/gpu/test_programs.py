"""The driver's own programs."""

from pathlib import Path

import pytest

from hub import Host, ProgramFailed
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.nvml.programs import run_driver_program

NAME = "nvidia-smi"


def _program(root: Path, script: str) -> DriverPaths:
    program = root / "usr/bin" / NAME
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return DriverPaths(Host(root))


def test_output_and_input(tmp_path: Path) -> None:
    """Both outputs are returned on one line; input is passed on, even to a program that does not read it."""
    paths = _program(tmp_path, 'echo "$1"; cat; printf "b\\377\\n" >&2')
    assert run_driver_program(paths, NAME, ["x  y"], timeout=20, stdin="a\n") == "x y a b\\xff"
    paths.driver(f"/usr/bin/{NAME}").write_text("#!/bin/sh\nexec 0<&-; echo done\n")
    assert run_driver_program(paths, NAME, [], timeout=20, stdin="a\n") == "done"


def test_a_program_that_is_missing(tmp_path: Path) -> None:
    """The error says where the program was expected on the node."""
    with pytest.raises(ProgramFailed, match="nvidia-smi is missing on this node: there is no /usr/bin/nvidia-smi"):
        run_driver_program(DriverPaths(Host(tmp_path)), NAME, [], timeout=20)


def test_the_libraries_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program looks for them below the driver root, but first in the directories of the plugin's own environment."""
    monkeypatch.setenv("LD_LIBRARY_PATH", "/own")
    paths = _program(tmp_path, 'echo "$LD_LIBRARY_PATH" "$MORE"')
    found = run_driver_program(paths, NAME, [], timeout=20, environment={"MORE": "x"})
    assert found.startswith(f"/own:{tmp_path}/usr/lib64:")
    assert found.endswith(" x")
