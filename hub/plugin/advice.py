"""What a plugin author should write in place of a call that Python or msgspec refuses."""

import re

import msgspec

from hub.metric import Metric, Sample
from hub.plugin.device import Allocation, Device, DeviceNode, Excluded, Mount
from hub.plugin.health import Policy, Probing
from hub.wording import did_you_mean

_KINDS: tuple[type[msgspec.Struct], ...] = (
    *(Device, DeviceNode, Mount, Excluded, Allocation),
    *(Metric, Sample, Policy, Probing),
)
"""What an author makes; msgspec's errors do not name the class."""

_UNEXPECTED = re.compile(r"Unexpected keyword argument '(\w+)'")
_IMMUTABLE = re.compile(r"immutable type: '(\w+)'")


def advice(error: str) -> str:
    """What to write instead, to be added to the text of an error; empty where that is not known."""
    if match := _UNEXPECTED.fullmatch(error):
        return _keyword(match[1])
    if match := _IMMUTABLE.fullmatch(error):
        return f"; a {match[1]} cannot be changed: give it all its values when you make it"
    return ""


def _keyword(name: str) -> str:
    fields = {f"hub.{kind.__name__}": _fields(kind) for kind in _KINDS}
    known = {field for names in fields.values() for field in names}
    if name in known:
        return f"; only {' and '.join(kind for kind, names in fields.items() if name in names)} takes that"
    return did_you_mean(name, known) or f"; hub.Device takes {', '.join(fields['hub.Device'])}"


def _fields(kind: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(kind)]
