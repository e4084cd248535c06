"""Plugins with a mistake by the author, and what the hub reports about it."""

from pathlib import Path

import hub
from hub import Host
from hub.model.check import CheckReport
from hub.plugin.selfcheck import check_plugin
from hub.testing.plugin import STUB

HEAD = "import os, time\nfrom hub import *\n\n\n"
GOOD = "    def devices(self):\n        return []\n"
RESOURCE = f'class P(Plugin):\n    resource = "{STUB}"\n    scan_interval = 0.05\n'

Mistake = tuple[str, str]
"""The code, in which `# HERE` marks a line, and the message about it."""


def written(directory: Path, code: str) -> Path:
    """Write a module with this code and the imports that plugins have."""
    file = directory / "author.py"
    file.write_text(HEAD + code)
    return file


def expected(message: str, file: Path) -> str:
    """Return a message with the locations that it names in braces."""
    lines = file.read_text().splitlines()
    here = next((number for number, line in enumerate(lines, 1) if "# HERE" in line), 0)
    known = {"here": f"{file}:{here}", "file": file, "reset": file.parent / "author_reset.py", "hub": hub.__file__}
    return message.format(**known)


def checked(file: Path, *, scan: bool = False) -> CheckReport:
    """Check the class P in a file as `dphub check` does."""
    return check_plugin(f"{file}:P", None, Host(), with_devices=scan)
