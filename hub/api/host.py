"""The node's file system as a parameter, so that a plugin's tests are directory trees."""

import os
from pathlib import Path


class Host:
    """The node's file system, which a container may see below another root.

    Paths that go in and come out are the node's own, as the kubelet and the container runtime know them; only `path`
    says where this process finds them.
    """

    def __init__(self, root: str | os.PathLike[str] = "/") -> None:
        self.root = Path(root)

    def path(self, host_path: str | os.PathLike[str]) -> Path:
        """Where this process finds a path of the node."""
        return self.root / Path(host_path).relative_to("/")

    def glob(self, pattern: str) -> list[Path]:
        """The paths of the node that match an absolute pattern, in order."""
        found = self.root.glob(str(Path(pattern).relative_to("/")))
        return sorted(Path("/") / path.relative_to(self.root) for path in found)
