"""The commands that the documentation shows an administrator."""

import re
import shlex

from tests.harness.operated import operated
from tests.harness.project import PROJECT

DOCUMENTS = ("README.md", "docs/operating.md")
NEED_A_HUB = (
    "status",
    "devices",
    "history",
    "logs",
    "restart",
    "stop",
    "start",
    "cordon",
    "uncordon",
    "reload",
    "log-level",
    "reset",
)


def _commands() -> list[list[str]]:
    """Return the commands for a running hub, in their order."""
    found = []
    for name in DOCUMENTS:
        text = (PROJECT / name).read_text()
        for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            found += [shlex.split(line.removeprefix("$ ")) for line in block.splitlines()]
    return [words[1:] for words in found if words[0] == "dphub" and words[1] in NEED_A_HUB]


async def test_they_work_as_they_stand() -> None:
    """The commands work one after another, on a node without problems."""
    commands = _commands()
    assert {words[0] for words in commands} >= set(NEED_A_HUB) - {"reset"}
    async with operated() as node:
        for words in commands:
            said = await node.dphub(*words)
            assert said.code == 0, (words, said)
