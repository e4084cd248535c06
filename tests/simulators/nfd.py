"""The rules by which Node Feature Discovery makes labels from the files in its directory.

They follow its source in July 2026: the worker's in source/local/local.go, the master's in
pkg/apis/nfd/validate/validate.go, and those for label names and values in Kubernetes' util/validation.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

MAX_FILE = 65536

_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_OWN = ("feature.node.kubernetes.io", "profile.node.kubernetes.io")


def labels(directory: Path, now: datetime | None = None) -> dict[str, str]:
    """Return the labels that a node gets from a directory; if two have the same name, the one read last wins."""
    found: dict[str, str] = {}
    for path in sorted(directory.iterdir()):
        if not path.name.startswith(".") and path.is_file() and path.stat().st_size <= MAX_FILE:
            found |= parse(path.read_text(), now)
    return {name: value for name, value in found.items() if accepts(name, value)}


def parse(text: str, now: datetime | None = None) -> dict[str, str]:
    """Return the labels in a file; a comment `# +expiry-time=` applies to all lines up to the next such comment."""
    now = now or datetime.now(UTC)
    expiry = now
    is_label = True
    found: dict[str, str] = {}
    for line in map(str.strip, text.split("\n")):
        if line.startswith("# +"):
            key, _, value = line.removeprefix("# +").partition("=")
            if key == "expiry-time":
                expiry = datetime.fromisoformat(value.strip())
            is_label = is_label and key != "no-label"
        elif line and not line.startswith("#") and expiry >= now:
            name, equals, value = line.partition("=")
            if is_label:
                found[name] = value if equals else "true"
            else:
                found.pop(name, None)
            is_label = True
    return _prefixed(found)


def _prefixed(found: Mapping[str, str]) -> dict[str, str]:
    return {name if "/" in name else f"{_OWN[0]}/{name}": value for name, value in found.items()}


def accepts(name: str, value: str) -> bool:
    """Return whether the master puts a label on a node."""
    domain, _, rest = name.partition("/")
    is_own = domain in _OWN or domain.endswith(tuple(f".{own}" for own in _OWN))
    is_denied = domain == "kubernetes.io" or domain.endswith(".kubernetes.io")
    return (
        len(domain) <= 253
        and bool(_DNS_NAME.fullmatch(domain))
        and 0 < len(rest) <= 63
        and bool(_VALUE.fullmatch(rest))
        and (is_own or not is_denied)
        and len(value) <= 63
        and bool(_VALUE.fullmatch(value))
    )
