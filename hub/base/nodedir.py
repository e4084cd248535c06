"""Names of the files in the run directory that belong to the node: they stay when hubs come and go.

This is a module of its own because reset processes load it, and little else.
"""

from pathlib import Path

NODE_DIR = "node"
"""The directory for these files, inside the run directory."""


def node_path(run_dir: Path, plugin: str, name: str) -> Path:
    """Return the path of a plugin's file that every hub on the node reads and writes."""
    return run_dir / NODE_DIR / f"{plugin}.{name}"
