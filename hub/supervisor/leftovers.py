"""What hubs of other names have left on the node: a pod that was killed tidies nothing up, and its name is history."""

from collections.abc import Iterator
from pathlib import Path

from hub.instances import dead, living
from hub.log import get_logger
from hub.paths import INSTANCE_NAME, RunDir, is_served

_log = get_logger()


def remove_leftovers(run_dir: RunDir, plugin_dir: Path) -> None:
    """Remove the files and sockets of hubs that are no more. What belongs to the node, such as health, stays."""
    others = {hub.name for hub in living(run_dir)} | {run_dir.instance}
    for name in dead(run_dir):
        if name in others or not INSTANCE_NAME.fullmatch(name):
            continue
        try:
            for path in (*_sockets(plugin_dir, name, others), *_files(run_dir, name)):
                path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("leftovers not removed", hub=name, reason=str(error))
        else:
            _log.info("leftovers removed", hub=name)


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
        if path != lock and not path.name.endswith(".health.json"):
            yield path
    yield lock
