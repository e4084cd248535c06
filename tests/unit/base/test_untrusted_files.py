"""Files that others may have written are read in one place."""

import ast
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[3]

READER = "hub/base/untrusted.py"

KIT = "the test kit reads what the same test wrote"
OWN = "creates a file of its own, and reads nothing"

ALLOWED: Mapping[str, Mapping[str, str]] = {
    "hub/api/jsontext.py": {"json.loads": "a string from the reader"},
    "hub/base/locks.py": {"os.open": "opens only regular files, and reads nothing"},
    "hub/base/logfile.py": {"os.open": OWN},
    "hub/base/jsonfile.py": {"open": OWN},
    "hub/base/processtitle.py": {"read_text": "what the kernel says about this process"},
    "hub/base/sockets.py": {"os.open": "a socket, which is not read"},
    "hub/base/terminal.py": {"os.open": "the terminal, which is not read"},
    "hub/kubelet/registration.py": {"os.open": "a socket, which is not read"},
    "hub/base/paths.py": {"os.open": "a directory, which is not read"},
    "hub/model/heartbeat.py": {"os.open": OWN},
    "hub/plugin/__main__.py": {"open": OWN},
    "hub/cli/render/text.py": {"os.open": "/dev/null"},
    "hub/cli/commands/fake_kubelet.py": {"open": "standard input"},
    "hub/cli/commands/verify.py": {"open": "a file that the user named, which is not read"},
    "hub/plugin/deviceplugin/exithandover.py": {"open": "a stream"},
    "hub/plugin/deviceplugin/registrar.py": {"open": "a socket"},
    "hub/plugin/deviceplugin/socketdir.py": {"os.open": "a directory, which is not read"},
    "hub/plugin/forkserver.py": {"json.decode": "a request of the parent process"},
    "hub/supervisor/forkserver.py": {"json.decode": "the response from a process that this one has just started"},
    "hub/plugin/selfcheck.py": {"json.decode": "an environment variable that the parent process set"},
    "hub/plugin/metrics/plugin.py": {"json.decode": "what this process has just encoded"},
    "hub/testing/apiserver/cel.py": {"json.loads": "a literal of a test's expression"},
    "hub/testing/apiserver/handler.py": {"json.loads": "a request of a test"},
    "hub/testing/apiserver/server.py": {"read_bytes": OWN},
    "hub/testing/dra/claims.py": {"json.decode": OWN, "read_bytes": OWN},
    "hub/testing/dra/health.py": {"json.decode": OWN, "read_bytes": OWN},
    "hub/testing/dra/kubeapi.py": {"json.loads": "the response from a fake API server"},
    "hub/reset/__main__.py": {
        "os.open": "/dev/null",
        "json.decode": "a request of the parent process",
        "read_text": "the kernel's list of this process's children",
    },
    "hub/supervisor/http/pages.py": {"read_text": "a file of this package"},
    "hub/supervisor/hub.py": {"open": "sockets"},
    "plugins/ib/reset/openfiles.py": {"os.open": "a file of /proc, which the kernel writes"},
    "plugins/ib/reset/unbound.py": {"open": "writes a locked file of its own"},
    "hub/testing/conformance/command.py": {"open": "a file in a directory that the plugin does not know"},
    "hub/testing/held.py": {"os.open": "a directory or a socket, which is not read"},
    "hub/testing/kubelet/kubelet.py": {"open": "a directory, which is not read"},
    "hub/testing/kubelet/server.py": {"os.open": "a directory and a socket, which are not read"},
    "hub/testing/node.py": {"open": KIT},
    "hub/testing/plugin.py": dict.fromkeys(("open", "json.loads", "read_text"), KIT),
}
"""The calls, by module or package, that may look like a read of such a file, and what they are instead."""

CALLS = {
    *("open", "read_text", "read_bytes", "os.open", "io.open"),
    *("json.load", "json.loads", "json.decode", "yaml.load", "yaml.safe_load", "yaml.compose"),
    *("tomllib.load", "tomllib.loads", "pickle.load", "pickle.loads"),
}
MODULES = {"os", "io", "json", "yaml", "tomllib", "pickle"}


def _name(call: ast.Call) -> str:
    """Return the name that is called; for `os` and decoders, with the module."""
    match call.func:
        case ast.Name(id=name):
            return name if name == "open" else ""
        case ast.Attribute(attr=name, value=ast.Name(id=module) | ast.Attribute(attr=module)) if module in MODULES:
            return f"{module}.{name}"
        case ast.Attribute(attr=name):
            return name
    return ""


def _reads(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and (name := _name(node)) in CALLS:
            yield name, node.lineno


def _is_allowed(file: str, name: str) -> bool:
    return any(name in calls for allowed, calls in ALLOWED.items() if f"{file}/".startswith(f"{allowed}/"))


@functools.cache
def _all_reads() -> Sequence[tuple[str, str, int]]:
    found: list[tuple[str, str, int]] = []
    for package in ("hub", "plugins"):
        for path in sorted((ROOT / package).rglob("*.py")):
            file = str(path.relative_to(ROOT))
            if file != READER and "_pb2" not in file:
                found += [(file, name, line) for name, line in _reads(path)]
    return found


def test_one_module_reads_what_others_may_have_written() -> None:
    """No pipe, device, endless file or non-text content in place of any file can therefore block anything."""
    assert [read for read in _all_reads() if not _is_allowed(*read[:2])] == []


def test_no_exception_is_out_of_date() -> None:
    """An entry of the list that allows nothing could hide a later read."""
    reads = {(file, name) for file, name, _ in _all_reads()}
    allowed = {(file, name) for file, names in ALLOWED.items() for name in names}
    assert allowed <= reads
