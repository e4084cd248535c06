"""Advice for plugin authors on calls that Python or msgspec rejects."""

import re

import msgspec

import hub
from hub import Allocation, Device, DeviceNode, Excluded, Host, Metric, Mount, RecoveryPolicy, ResetRetryPolicy, Sample
from hub.base.untrusted import is_there
from hub.base.wording import did_you_mean

_KINDS: tuple[type[msgspec.Struct], ...] = (
    *(Device, DeviceNode, Mount, Excluded, Allocation),
    *(Metric, Sample, RecoveryPolicy, ResetRetryPolicy),
)
"""The classes that an author creates; msgspec's errors do not name the class."""

_UNEXPECTED = re.compile(r"Unexpected keyword argument '(\w+)'")
_NOT_IN_HUB = re.compile(r"cannot import name '(\w+)' from 'hub' |module 'hub' has no attribute '(\w+)'")
_IMMUTABLE = re.compile(r"immutable type: '(\w+)'")


def advice(error: BaseException, host: Host | None) -> str:
    """Return what to write instead, to append to the text of an error; empty if that is not known.

    Args:
        error: The error that the author's code raised.
        host: The node's file system that the code works with, if any.
    """
    if isinstance(error, FileNotFoundError):
        return _unread(error.filename, host) if host else ""
    if match := _NOT_IN_HUB.match(str(error)):
        return did_you_mean(match[1] or match[2], hub.__all__)
    if isinstance(error, AttributeError) and isinstance(error.obj, Host):
        return did_you_mean(error.name or "", (name for name in dir(error.obj) if name[0] != "_"))
    if match := _UNEXPECTED.fullmatch(str(error)):
        return _keyword(match[1])
    if match := _IMMUTABLE.fullmatch(str(error)):
        return f"; a {match[1]} cannot be changed: pass all values when you create it"
    return ""


def _unread(path: object, host: Host) -> str:
    """Advise on a path on the node that was used as a path in this process."""
    if not isinstance(path, str) or not path.startswith("/") or not is_there(host.path(path)):
        return ""
    return f'; it exists on the node: read it at self.host.path("{path}")'


def _keyword(name: str) -> str:
    fields = {f"hub.{kind.__name__}": _fields(kind) for kind in _KINDS}
    known = {field for names in fields.values() for field in names}
    if name in known:
        return f"; only {' and '.join(kind for kind, names in fields.items() if name in names)} can take that"
    return did_you_mean(name, known) or f"; hub.Device takes {', '.join(fields['hub.Device'])}"


def _fields(kind: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(kind)]
