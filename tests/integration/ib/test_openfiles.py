"""Which real processes have a device open, however they try to hide it."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub import Host
from hub.testing.waiting import WAIT_SECONDS
from plugins.ib.reset import openfiles
from plugins.ib.reset.openfiles import processes_with_open

ZERO = (1, 5)
"""The device number of /dev/zero, which no other process of the tests keeps open or mapped."""

HIDE = """
import ctypes, os, threading, time

libc = ctypes.CDLL(None)

def hold():
    global file
    file = os.open("/dev/zero", os.O_RDWR)

def stay():
    print("ready", flush=True)
    time.sleep(600)
"""

IN_A_THREAD = """
def alone():
    assert libc.unshare(0x400) == 0  # CLONE_FILES
    hold()
    stay()

threading.Thread(target=alone).start()
time.sleep(600)
"""

MAPPED = """
libc.mmap.restype = ctypes.c_void_p
hold()
assert libc.mmap(None, 4096, 3, 2, file, 0) != ctypes.c_void_p(-1).value  # private, and can be written
os.close(file)
"""

AFTER_THE_FIRST_THREAD = """
first = threading.get_native_id()

def last():
    while open(f"/proc/self/task/{first}/stat").read().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    stay()

threading.Thread(target=last).start()
libc.syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)  # exit
"""


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can follow links to mapped files")


@contextmanager
def running(script: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a script in the block, which begins when the script is ready; then kill it and its children."""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("hold()\nstay()", id="plainly"),
        pytest.param('file = os.open("/dev/zero", 3)\nstay()', id="neither for reading nor for writing"),
        pytest.param(IN_A_THREAD, id="in a thread with its own files"),
        pytest.param(f"hold(){AFTER_THE_FIRST_THREAD}", id="after its first thread"),
        pytest.param(f"{MAPPED}stay()", id="mapped and closed", marks=AS_ROOT),
        pytest.param(MAPPED + AFTER_THE_FIRST_THREAD, id="mapped and closed, after its first thread", marks=AS_ROOT),
    ],
)
def test_a_process_that_holds_a_device(how: str) -> None:
    """It is found even if only a thread has the file, if its first thread has exited, or if the file is only mapped."""
    with running(HIDE + how) as process:
        found = list(processes_with_open(Host(Path("/")), {ZERO}))
    assert [text for text in found if text.startswith(f"process {process.pid} (")] != [], found


def test_a_process_that_only_names_a_device() -> None:
    """Any user can do that (O_PATH), even without the right to open the device, so such a process does not count."""
    with running(HIDE.replace("O_RDWR", "O_PATH") + "hold()\nstay()") as process:
        found = list(processes_with_open(Host(Path("/")), {ZERO}))
    assert [text for text in found if text.startswith(f"process {process.pid} (")] == [], found


@pytest.mark.parametrize("becomes", ["closed", "another file"])
def test_a_descriptor_that_changes_while_it_is_looked_at(becomes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors that only name a device may come and go: any user can do that, and it does not prevent a reset."""
    named, other = os.open("/dev/zero", os.O_PATH), os.open("/dev/null", os.O_RDWR)
    number = fcntl.fcntl(named, fcntl.F_DUPFD_CLOEXEC, 500)  # the search itself gets lower ones
    os.close(named)
    look = openfiles._number

    def look_once(link: str) -> tuple[int, int] | None:
        found = look(link)
        if found == ZERO and link == f"/proc/{os.getpid()}/fd/{number}":
            os.dup2(other, number)
            if becomes == "closed":
                os.close(number)
        return found

    monkeypatch.setattr(openfiles, "_number", look_once)
    found = openfiles._holds(Path(f"/proc/{os.getpid()}"), {ZERO})
    os.closerange(number, number + 1)
    os.close(other)
    assert found is False


MANY_THREADS = """
def alone():
    assert libc.unshare(0x400) == 0  # CLONE_FILES
    done.release()
    libc.pause()

done = threading.Semaphore(0)
for _ in range(10):
    threading.Thread(target=alone).start()
for _ in range(10):
    done.acquire()
stay()
"""


def test_threads_do_not_multiply_mappings() -> None:
    """Each mapping is checked once, however many threads with their own files there are: any user can start them."""
    with running(HIDE + MANY_THREADS) as process:
        directory = Path("/proc") / str(process.pid)
        links = Counter(link.rpartition("/")[0] for link in openfiles._open_files(directory))
    kinds = Counter(name.rpartition("/")[2] for name in links)
    assert kinds == {"fd": 11, "map_files": 1}, links


FORKS = """
hold()
print("ready", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
    time.sleep(0.05)
"""


def test_a_process_that_forks_all_the_time() -> None:
    """None of its processes lives as long as the search takes, and each passes the file to the next one."""
    with running(HIDE + FORKS):
        found = list(processes_with_open(Host(Path("/")), {ZERO}))
    assert found != []


def test_a_process_whose_files_the_kernel_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process may have the device mapped, so it counts; the others are still searched."""
    for pid in ("11", "12"):
        (tmp_path / "proc" / pid).mkdir(parents=True)
        (tmp_path / "proc" / pid / "comm").write_text(f"name{pid}\n")
    released = threading.Event()

    def open_files(process: Path) -> Iterator[str]:
        if process.name == "12":
            released.wait(WAIT_SECONDS)
        yield "/dev/zero"

    monkeypatch.setattr(openfiles, "_open_files", open_files)
    monkeypatch.setattr(openfiles, "_SEARCH_TIMEOUT", 0.2)
    found = list(processes_with_open(Host(tmp_path), {ZERO}))
    released.set()
    assert found == [
        "possibly process 12 (name12): the kernel did not show its files within 0.2 s",
        "process 11 (name11)",
    ]


def test_a_process_with_very_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not count as a holder if checking its files takes too long: any user can start such a process."""
    (tmp_path / "proc/11").mkdir(parents=True)
    patience = 1.0

    def open_files(_: Path) -> Iterator[str]:
        end = time.monotonic() + 1.5 * patience
        while time.monotonic() < end:
            time.sleep(0.01)
            yield "/dev/null"

    monkeypatch.setattr(openfiles, "_open_files", open_files)
    monkeypatch.setattr(openfiles, "_SEARCH_TIMEOUT", patience)
    assert list(processes_with_open(Host(tmp_path), {ZERO})) == []
