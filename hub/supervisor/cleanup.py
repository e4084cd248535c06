"""Removal of files that no hub uses: a hub removes its own sockets when it stops, and others' files when it starts.

A killed pod cannot remove its own files, and no later pod has its name.
"""

import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from hub.base.featurefiles import other_feature_files
from hub.base.instances import exited_hubs, running_hubs, start_blocked
from hub.base.log import get_logger
from hub.base.nodedir import NODE_DIR
from hub.base.paths import SERVING_DIR, SUMMARY_DIR, RunDir
from hub.base.sockets import is_served
from hub.status.externalreports import SOCKET_REPORTS

_WRITE_TIMEOUT = 60.0
"""Seconds after which no process is still writing a temporary file."""

_log = get_logger()


def remove_stale_files(run_dir: RunDir, plugin_dir: Path) -> None:
    """Remove files and sockets of hubs that have exited. The node's files, such as health, are kept."""
    _remove(*_scratch(run_dir))
    others = {hub.name for hub in running_hubs(run_dir)} | {run_dir.instance}
    for name in exited_hubs(run_dir):
        if name in others:
            continue
        try:
            with start_blocked(run_dir, name) as has_exited:
                if has_exited:
                    _remove(*_sockets(plugin_dir, name, others), *_files(run_dir, name))
                    _log.info("stale files removed", hub=name)
        except OSError as error:
            _log.warning("stale files not removed", hub=name, reason=str(error))


def remove_feature_files(directory: Path, run_dir: RunDir, plugins: Collection[str]) -> None:
    """Remove the labels of plugins that are no longer configured.

    Nothing is removed while another hub is running, such as the old one during an upgrade: the labels may be that
    hub's, and expire when its plugins stop.
    """
    if all(hub.name == run_dir.instance for hub in running_hubs(run_dir)):
        for path in other_feature_files(directory, plugins):
            path.unlink(missing_ok=True)
            _log.info("labels removed", file=str(path))


def remove_sockets(run_dir: RunDir) -> None:
    """Remove the sockets that a hub has stopped listening on. Neither ZeroMQ nor Tornado does so."""
    sockets = (run_dir.circus_socket, run_dir.events, run_dir.http_socket)
    _remove(*(path for path in sockets if path.is_socket()))


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _scratch(run_dir: RunDir) -> Iterator[Path]:
    """Yield temporary files that a process was writing when it was killed."""
    ours = [(directory, ".*") for directory in (run_dir.path, run_dir.path / NODE_DIR, run_dir.path / SUMMARY_DIR)]
    # Other programs have temporary files in the directory of external faults, too.
    for directory, names in (*ours, (run_dir.external_faults, f".{SOCKET_REPORTS}-*")):
        for path in directory.glob(names):
            with suppress(FileNotFoundError):
                if path.is_file() and time.time() - path.stat().st_mtime > _WRITE_TIMEOUT:
                    yield path


def _sockets(plugin_dir: Path, name: str, others: set[str]) -> Iterator[Path]:
    for path in plugin_dir.glob(f"{name}-*.sock"):
        # The name of a running hub may begin with the name of this one.
        ours = any(path.name.startswith(f"{other}-") for other in others if other.startswith(f"{name}-"))
        if path.is_socket() and not ours and not is_served(path):
            yield path


def _files(run_dir: RunDir, name: str) -> Iterator[Path]:
    """Yield the files of an exited hub, the lock last: while it exists, the next hub repeats an interrupted cleanup."""
    exited = RunDir(run_dir.path, name)
    lock = exited.lock
    for path in run_dir.path.glob(f"{name}.*"):
        if path != lock and not path.is_dir():
            yield path
    yield from (run_dir.path / SERVING_DIR).glob(f"{name}.*.lock")
    yield exited.summary
    yield lock
