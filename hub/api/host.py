"""The node's file system as a parameter, so that tests of a plugin can use a directory tree."""

import os
from pathlib import Path


class Host:
    """The node's file system, which may be mounted at a different path in the hub's container.

    Arguments and results are paths on the node, as the kubelet and the container runtime use them; only `path` returns
    a path for this process.
    """

    def __init__(self, root: str | os.PathLike[str] = "/") -> None:
        self.root = Path(root)

    def path(self, host_path: str | os.PathLike[str]) -> Path:
        """Return where this process finds a path on the node."""
        return self.root / Path(host_path).relative_to("/")

    def glob(self, pattern: str) -> list[Path]:
        """Return the paths on the node that match an absolute pattern, sorted."""
        found = self.root.glob(str(Path(pattern).relative_to("/")))
        return sorted(Path("/") / path.relative_to(self.root) for path in found)
