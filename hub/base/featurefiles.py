"""Feature files: the files in which a node's programs offer labels to Node Feature Discovery (NFD).

NFD's worker reads every regular file in its directory whose name does not begin with a dot, unless it is larger than
64 KiB, and its master puts the labels on the node. So no process of the hub needs permission to change a node.
"""

import re
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

FEATURES_DIR = Path("/etc/kubernetes/node-feature-discovery/features.d")
"""Where NFD reads."""

FEATURES_VARIABLE = "DPHUB_FEATURES_DIR"
"""The environment variable that names the directory of feature files for a plugin process; empty for no labels."""

MAX_LABELS = 150
"""Maximum number of labels of one plugin: as many as fit in a file of `MAX_BYTES`, however long they are."""

MAX_ANSWER = 10_000
"""Maximum number of labels, valid or not, that a plugin may return."""

MAX_BYTES = 64 << 10
"""The largest file that NFD reads."""

LIFETIME = 600.0
"""Seconds for which labels stay after their plugin has stopped: longer than a restart or an upgrade takes."""

_DOMAIN_OF_HUB = "dphub.dev"
"""The domain of the labels for which no other program has a name."""

_HEALTH_LABEL = re.compile(r"dphub\.dev/.*\.(health|unhealthy)", re.DOTALL)

_PREFIX = "dphub-"
_WRITE_TIMEOUT = 60.0
"""Age in seconds at which a temporary file is certainly no longer being written."""

_HEADER = "# Written by Device Plugin Hub, and replaced when it changes.\n"
_EXPIRY = "# +expiry-time="
_TIME = "%Y-%m-%dT%H:%M:%SZ"

_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_MAX_DOMAIN = 253
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
_RULE = 'at most 63 letters, digits, "-", "_" and ".", with a letter or digit at both ends'
_RESERVED = re.compile(r"(.*\.)?(kubernetes|k8s)\.io")
_ALLOWED = re.compile(r"(.*\.)?(feature|profile)\.node\.kubernetes\.io")


def health_labels(plugin: str) -> tuple[str, str]:
    """Return the names of the labels that say whether a plugin's devices are healthy, and how many are not."""
    return f"{_DOMAIN_OF_HUB}/{plugin}.health", f"{_DOMAIN_OF_HUB}/{plugin}.unhealthy"


def is_health_label(name: object) -> bool:
    """Return whether only the hub sets a label with this name, for any plugin."""
    return isinstance(name, str) and bool(_HEALTH_LABEL.fullmatch(name))


def feature_file(directory: Path, plugin: str) -> Path:
    """Return the path of the file with the labels of a plugin; all hubs on a node use the same one."""
    return directory / f"{_PREFIX}{plugin}"


def other_feature_files(directory: Path, plugins: Collection[str]) -> Iterator[Path]:
    """Yield the files of all plugins except these, and files that a process did not finish writing."""
    for path in directory.glob(f"{_PREFIX}*"):
        if path.name.removeprefix(_PREFIX) not in plugins and not path.is_dir():
            yield path
    for path in directory.glob(f".{_PREFIX}*"):
        with suppress(FileNotFoundError):
            found = path.lstat()
            if time.time() - found.st_mtime > _WRITE_TIMEOUT and not stat.S_ISDIR(found.st_mode):
                yield path


def label_problem(name: object, value: object) -> str:
    """Return why a label is invalid: NFD would refuse it, or its domain is Kubernetes'; empty if it is valid."""
    if not isinstance(name, str) or not isinstance(value, str):
        return "expected strings by name"
    domain, slash, rest = name.partition("/")
    if not slash:
        return "the name has no domain, expected one such as example.com/name"
    if not _is_domain(domain):
        return "the domain is not a DNS name in lower case"
    if _RESERVED.fullmatch(domain) and not _ALLOWED.fullmatch(domain):
        return "the domain is reserved for Kubernetes, expected your own, or feature.node.kubernetes.io"
    if not _NAME.fullmatch(rest):
        return f"expected a name of {_RULE} after the domain"
    return "" if not value or _NAME.fullmatch(value) else f"expected a value of {_RULE}"


def _is_domain(text: str) -> bool:
    return len(text) <= _MAX_DOMAIN and bool(_DOMAIN.fullmatch(text))


def features_text(labels: Mapping[str, str], *, expiry: float | None = None) -> str:
    """Return the content of a feature file.

    Args:
        labels: The labels; each is valid.
        expiry: The Unix time at which NFD removes them; None for never.
    """
    until = "" if expiry is None else f"{_EXPIRY}{time.strftime(_TIME, time.gmtime(expiry))}\n"
    return _HEADER + until + "".join(f"{name}={value}\n" for name, value in sorted(labels.items()))


def expiring_text(text: str) -> str:
    """Return the content of a feature file of this module, with an expiry time unless it has one."""
    if not text or any(line.startswith(_EXPIRY) for line in text.splitlines()):
        return text
    return features_text(read_features(text), expiry=time.time() + LIFETIME)


def read_features(text: str) -> dict[str, str]:
    """Return the labels in a feature file of this module that have not expired."""
    now = time.strftime(_TIME, time.gmtime())
    lines = text.splitlines()
    if any(line.startswith(_EXPIRY) and line.removeprefix(_EXPIRY) < now for line in lines):
        return {}
    pairs = (line.partition("=") for line in lines if not line.startswith("#"))
    return {name: value for name, _, value in pairs if not label_problem(name, value)}
