"""Programs that a plugin runs: whatever they do, the plugin continues."""

import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from hub import ProgramFailed, run_program
from hub.base.program import MAX_OUTPUT
from hub.testing.waiting import wait_until

NAME = "prog"


def _program(directory: Path, script: str) -> Sequence[str]:
    program = directory / NAME
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return [str(program)]


def test_output_and_input(tmp_path: Path) -> None:
    """Standard output and standard error are returned; input is passed on, even to a program that does not read it."""
    command = _program(tmp_path, 'echo "$1"; cat; printf "b\\377\\n" >&2')
    assert run_program([*command, "x  y"], timeout=20, stdin="a\n") == "x  y\na\nb\\xff\n"
    assert run_program(_program(tmp_path, "exec 0<&-; echo done"), timeout=20, stdin="a\n") == "done\n"


def test_the_environment_is_the_plugins_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default, the program gets none of the plugin's variables but PATH."""
    monkeypatch.setenv("SECRET", "x")
    command = _program(tmp_path, 'echo "$SECRET$GIVEN$(pwd)"')
    assert run_program(command, timeout=20) == "/\n"
    assert run_program(command, timeout=20, env={"GIVEN": "y"}) == "y/\n"


@pytest.mark.parametrize("code", [0, 3])
def test_long_output(tmp_path: Path, code: int) -> None:
    """Only the beginning is kept, but the program can write the rest."""
    command = _program(tmp_path, f"echo begin; head -c 10000000 /dev/zero | tr '\\0' x; exit {code}")
    try:
        text = run_program(command, timeout=20)
    except ProgramFailed as failed:
        text = " ".join(str(failed).split())
        assert text.startswith(f"{NAME} failed (exit code {code}): begin xxx")
    assert "begin" in text
    assert len(text) < MAX_OUTPUT + 100


def test_endless_output(tmp_path: Path) -> None:
    """The output ends with the program's time limit, and takes no memory."""
    command = _program(tmp_path, "exec cat /dev/zero")
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ProgramFailed, match="prog did not finish within 1 s"):
        run_program(command, timeout=1)
    assert time.monotonic() - begin < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10


@pytest.mark.parametrize("script", ["exec sleep 600", "exec >&- 2>&-; exec sleep 600"])
def test_a_program_that_does_not_end(tmp_path: Path, script: str) -> None:
    """The program is killed at its limit, whether or not it has closed its output."""
    with pytest.raises(ProgramFailed, match=r"prog did not finish within 0\.5 s"):
        run_program(_program(tmp_path, script), timeout=0.5)


FAILURES = {
    "a signal": ("kill -9 $$", "prog was killed by signal 9: no output"),
    "a code": ("echo 'a  b'; printf '\\033c\\n'; exit 4", "prog failed (exit code 4): a b \ufffdc"),
}


@pytest.mark.parametrize(("script", "words"), FAILURES.values(), ids=FAILURES)
def test_a_program_that_fails(tmp_path: Path, script: str, words: str) -> None:
    """The error contains the program's exit code or signal, and its output as one line of plain text."""
    with pytest.raises(ProgramFailed) as raised:
        run_program(_program(tmp_path, script), timeout=20)
    assert str(raised.value) == words


@pytest.mark.parametrize("command", [["/no/such/prog"], ["/bin/sh", "a\0b"]])
def test_a_program_that_cannot_be_started(command: Sequence[str]) -> None:
    """The error says that the program is missing, or that an argument is impossible."""
    with pytest.raises(ProgramFailed, match="cannot be executed: "):
        run_program(command, timeout=20)


@pytest.mark.parametrize("daemons", [False, True])
async def test_children_that_it_leaves_running(tmp_path: Path, *, daemons: bool) -> None:
    """The plugin does not wait for them, and they exit with the program unless they are started to stay."""
    # The child has the program's output open.
    command = _program(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child")
    run_program(command, timeout=20, daemons=daemons)
    child = int((tmp_path / "child").read_text())
    if daemons:
        os.kill(child, 9)
    await wait_until(lambda: not _is_running(child), "the end of the child")


def _is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
