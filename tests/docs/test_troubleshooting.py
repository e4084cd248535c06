"""docs/troubleshooting.md: its quotations are what the hub prints."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from hub.base.exits import Exit
from hub.model.node import Condition
from hub.model.plugin import RegistrationStatus
from tests.docs.docs_tools import ROOT, blocks, codes, page

NAMES = {
    *("stub", "gpu", "ib", "hub", "kubelet", "dphub", "plugin", "python"),
    *("desc", "code", "Internal", "DeadlineExceeded", "reason", "version", "nvmlInit"),
    # Ports, and units of time.
    *("DOWN", "Polling", "min"),
}
"""Names of plugins, programs, functions, fields, states and units, which fill the placeholders of strings."""

BY_OTHERS = (
    # The scheduler, the API server and the kubelet.
    *("nodes are available", "Insufficient", "insufficient quota to match these scopes", "violates PodSecurity"),
    *("The DaemonSet", "is invalid", "Forbidden: disallowed by cluster policy"),
    *("unable to validate against any security context constraint", "hostPath type check failed", "is not a directory"),
    *("Requested", "Available"),
    *("Readiness probe failed", "Startup probe failed", "avc: denied", "rpc error"),
    # What other participants in a scenario print: the stub, a kubelet, an administrator, and files with mistakes.
    *(
        "the card rejected the request",
        "the firmware reported an error",
        "failed to dial device plugin",
        "context deadline exceeded",
        "the fan is loud",
    ),
    *('unknown key "modus"', "unknown value 'v2'", "RuntimeError"),
    # The operating system and NVML.
    *(
        "Address already in use",
        "Permission denied",
        "No such file or directory",
        "Driver Not Loaded",
        "NVML Shared Library Not Found",
        "is missing",
    ),
)
"""Words that come from elsewhere."""

QUOTES = [
    *(line for block in blocks("troubleshooting", "text") for line in block.splitlines()),
    # The page's tables are not sentences, so they are left out.
    *(
        line
        for block in blocks("install", "text")
        for line in block.splitlines()
        if line.startswith(("✗", "!", "·", "All"))
    ),
]

COMMANDS_AND_SETTINGS = (
    *("kubectl ", "dphub ", "nvidia-smi ", "systemctl ", "journalctl "),
    *("health: {", "autostart = "),
)
"""The beginnings of texts that no program prints."""

INLINE = [
    code
    for code in dict.fromkeys(
        codes(re.sub(r"^```.*?^```$", "", page("troubleshooting"), flags=re.MULTILINE | re.DOTALL))
    )
    if " " in code and not code.startswith(COMMANDS_AND_SETTINGS)
]

ONE_WORD = {
    *(each.value for each in (*Condition, *RegistrationStatus)),
    *(code.name.lower().replace("_", " ") for code in Exit),
}


@cache
def _pieces() -> frozenset[str]:
    """Return the fixed parts of the strings in the code of the hub and its plugins, without docstrings.

    One word alone counts only next to a placeholder, or if it is a condition: constants of one word are everywhere.
    """
    found: set[str] = set(ONE_WORD)
    for package in ("hub", "plugins"):
        for path in (ROOT / package).rglob("*.py"):
            found |= _of_module(path)
    return frozenset(found)


def _of_module(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    fixed = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            pieces = {piece.strip(" ()'") for piece in re.split(r"[:;] |\n", node.value)}
            found |= {piece for piece in pieces if " " in piece or (id(node) in fixed and piece.isalpha())}
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "counted":
            found |= {f"{noun.value!s}s" for noun in node.args[1:] if isinstance(noun, ast.Constant)}
    return found


def _unknown(line: str) -> list[str]:
    """Return the words of a line that are in no string of the code."""
    if any(line in piece for piece in _pieces()):
        return []
    covered: set[int] = set()
    for words in (*_pieces(), *BY_OTHERS):
        for match in re.finditer(rf"(?<![A-Za-z]){re.escape(words)}(?![A-Za-z])", line):
            covered |= set(range(*match.span()))
    # A word that has characters other than letters is an id, a path or a number.
    words_alone = re.finditer(r"(?<![^\s(`'\"])[A-Za-z]{2,}(?=[.,;:)`'\"]*(?:\s|$))", line)
    return [match[0] for match in words_alone if match.start() not in covered and match[0] not in NAMES]


@pytest.mark.parametrize("line", dict.fromkeys([*QUOTES, *INLINE]))
def test_what_is_quoted_is_said_by_the_code(line: str) -> None:
    """Each fixed word of a quotation is in a string of the code, or comes from other software."""
    assert _unknown(line) == []


def test_what_the_code_does_not_say_is_found() -> None:
    """A word that no string of the code has would make the test above fail."""
    assert _unknown("!  gpu  the weather is too hot for this adapter")
    (line, *_) = [quote for quote in QUOTES if "backing off" in quote]
    assert "resting" in _unknown(line.replace("backing off", "resting"))


def test_every_link_within_the_page_leads_somewhere() -> None:
    """Each link to a section of the page leads to a heading that is there."""
    text = page("troubleshooting")
    headings = {
        re.sub("[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall("^## (.*)$", text, re.MULTILINE)
    }
    links = set(re.findall(r"\]\(#([^)]+)\)", text))
    assert links <= headings


def test_every_exit_code_that_a_pod_may_have_is_documented() -> None:
    """The page has those of `dphub run`; those of plugins are documented with the plugins."""
    table = page("troubleshooting").partition("| exit code or event |")[2].partition("\n\n")[0]
    found = {int(code) for code in re.findall(r"^\| (\d+)\b", table, re.MULTILINE)}
    assert {code.value for code in Exit} - {Exit.OK, Exit.NEEDS_RESTART} <= found
    assert f"Exit code {Exit.NEEDS_RESTART.value} means that the plugin" in page("troubleshooting")
