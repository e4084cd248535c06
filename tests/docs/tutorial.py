"""The tutorial, docs/writing-a-plugin.md: its commands, its blocks, and the directory of its reader."""

import re
from pathlib import Path
from typing import NamedTuple

from tests.docs.pages import TUTORIAL

SERIAL = "example.com/serial"
FIRST, GROWN = TUTORIAL.versions("serial_adapters.py")
SNIPPETS = [block.text for block in TUTORIAL.blocks if block.in_the_class]
FROM_HUB = ["Allocation", "Metric", "Sample"]
"""More names that the snippets need; the page says that they come from `hub`, and `Counter` from `collections`."""

NOT_TYPED = {
    "mkdir serial && cd serial": "the directory of the test stands for it",
    "python3 -m venv venv": "tests already have a virtual environment",
    ". venv/bin/activate": "tests already have a virtual environment",
    "pip install ../device-plugin-hub": "needs a package index; tests/deploy/test_release.py installs the wheel",
    "pip install pytest": "needs a package index",
    "kubectl apply ": "needs a cluster",
    "kubectl get ": "needs a cluster",
    "kubectl logs ": "needs a cluster",
    "kubectl wait ": "needs a cluster",
    "kubectl --namespace ": "needs a cluster",
    "dphub verify ": "takes half a minute; tests/integration/verify verifies the stub with such a command",
    "docker ": "needs a registry with the hub's image; test_an_image_of_your_own checks what the Containerfile does",
}
"""The beginnings of commands that no test types, with the reasons."""

TYPED: set[str] = set()
"""The commands that a test types, collected while this module is imported."""

OTHER_BLOCKS = {
    "def place(host, device):": "test_locations_come_from_sysfs",
    "images:\n": "test_an_image_of_your_own",
    **dict.fromkeys(("unhealthy:", "allocate:", "reset:"), "test_the_examples_of_the_stub"),
}
"""The beginnings of blocks that are neither a file nor a part of the class, with the test of each."""


def _command(beginning: str) -> str:
    command = TUTORIAL.command(beginning)
    TYPED.add(command)
    return command


SET_UP = [_command("mkdir -p host"), _command("touch host/dev")]
KUBELET = _command("dphub fake-kubelet")
PLUGIN, PLUGIN_WITH_SETTINGS = (
    command for command in TUTORIAL.commands if command.startswith("python -P -m hub.plugin ")
)

SCAN = _command("dphub check --plugin serial_adapters.py:Serial --scan")
WRONG = _command("dphub check --plugin wrong.py:")
FAILING, INVALID = _command("dphub check --plugin failing.py:F"), _command("dphub check --plugin failing.py:I")
CHECK_SETTINGS = _command("dphub check --plugin serial_adapters.py:Serial serial.yaml")
LOCK, UNLOCK = _command("touch host/run/lock"), _command("rm host/run/lock")
CHECK_HUB = _command("dphub check --load circus.ini")
HUB = _command("DPHUB_HOST_ROOT=")
OPERATE = [
    command
    for command in TUTORIAL.commands
    if command.startswith(("dphub status", "dphub devices", "dphub cordon", "dphub uncordon", "dphub logs"))
]

RUN_DIR = _command("export DPHUB_RUN_DIR=").partition("=")[2]
PYTEST = _command("pytest")
ADD_SECTIONS = _command("cat ")
KUSTOMIZE = _command("kubectl kustomize .")
CHECK_STUB = _command("dphub check --plugin plugins.stub:Stub")
TYPED |= {PLUGIN, PLUGIN_WITH_SETTINGS, *OPERATE}
SCANNED, REGISTERED, ADMITTED, UNKNOWN_KEY, HEALTH, DIALLER, *MISTAKES = (
    text.splitlines() for text in TUTORIAL.of("text")
)

ADMIT_READER, RESTART, REMOVE_READER, ADMIT_DIALLER, ADMIT_CALLER = re.findall("[Tt]ype `([^`]+)`", TUTORIAL.text)


class Tutorial(NamedTuple):
    """The reader's directory, and the files that the reader puts into it."""

    directory: Path

    def write(self, module: str) -> None:
        """Write the given version of the plugin and all other files."""
        for block in TUTORIAL.blocks:
            if block.file not in ("", "serial_adapters.py", "stub.yaml"):
                (self.directory / block.file).write_text(block.text, encoding="utf-8")
        (self.directory / "serial_adapters.py").write_text(module, encoding="utf-8")

    def port(self, number: int) -> Path:
        """Return the file that stands for an adapter."""
        return self.directory / f"host/dev/ttyUSB{number}"


def complete_plugin() -> str:
    """Return the plugin with everything in its class that the page has for it."""
    docstring, _, rest = GROWN.partition("\n\n")
    (names,) = re.findall("^from hub import (.+)$", rest, re.MULTILINE)
    more = rest.replace(names, ", ".join(sorted([*names.split(", "), *FROM_HUB])))
    return f"{docstring}\n\nfrom collections import Counter\n\n{more}\n" + "\n".join(SNIPPETS)
