"""What hubs of other names have left on the node: a pod that was killed tidies nothing up, and its name is history."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hub.base.instances import exited_hubs, running_hubs, start_blocked
from hub.base.log import get_logger
from hub.base.nodedir import NODE_DIR
from hub.base.paths import RunDir
from hub.base.sockets import is_served

_WRITTEN_WITHIN = 60.0
"""Seconds."""

_log = get_logger()


def remove_stale_files(run_dir: RunDir, plugin_dir: Path) -> None:
    """Remove the files and sockets of hubs that are no more. What belongs to the node, such as health, stays."""
    _remove(*_scratch(run_dir))
    others = {hub.name for hub in running_hubs(run_dir)} | {run_dir.instance}
    for name in exited_hubs(run_dir):
        if name in others:
            continue
        try:
            with start_blocked(run_dir, name) as gone:
                if gone:
                    _remove(*_sockets(plugin_dir, name, others), *_files(run_dir, name))
                    _log.info("stale files removed", hub=name)
        except OSError as error:
            _log.warning("stale files not removed", hub=name, reason=str(error))


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _scratch(run_dir: RunDir) -> Iterator[Path]:
    """Files that a process was just writing when it was killed; nobody writes for so long."""
    for path in (*run_dir.path.glob(".*"), *(run_dir.path / NODE_DIR).glob(".*")):
        with suppress(FileNotFoundError):
            if path.is_file() and time.time() - path.stat().st_mtime > _WRITTEN_WITHIN:
                yield path


def _sockets(plugin_dir: Path, name: str, others: set[str]) -> Iterator[Path]:
    for path in plugin_dir.glob(f"{name}-*.sock"):
        # A hub may be called as another one with something behind it.
        ours = any(path.name.startswith(f"{other}-") for other in others if other.startswith(f"{name}-"))
        if path.is_socket() and not ours and not is_served(path):
            yield path


def _files(run_dir: RunDir, name: str) -> Iterator[Path]:
    """The lock last: as long as it is there, the next hub goes on."""
    lock = RunDir(run_dir.path, name).lock
    for path in run_dir.path.glob(f"{name}.*"):
        if path != lock and not path.is_dir():
            yield path
    yield lock
