"""The effect of XIDs, the error reports of NVIDIA's driver, on a GPU's health.

By default, as in NVIDIA's device plugin, XIDs caused by applications are ignored. Of the others, those for
which NVIDIA's XID catalogue requires a GPU reset or a node reboot are fatal; a GPU recovers from the rest.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Self

import msgspec

from plugins.gpu.settings.file import XidTable

DISABLE = "DP_DISABLE_HEALTHCHECKS"
ENABLE = "DP_ENABLE_HEALTHCHECKS"

_CODE = re.compile("[0-9]{1,9}")
"""A number with few digits: Python does not convert thousands, and `isdigit` accepts digits that `int` does not."""


_ALL = {"all", "xids"}


class XidMeaning(StrEnum):
    """The effect of an XID on health."""

    IGNORE = "ignore"
    """None."""
    RECOVER = "recover"
    """The GPU is unhealthy until a probe finds no fault and the recovery time has passed."""
    FATAL = "fatal"
    """The GPU is unhealthy until it is reset, or an administrator uncordons it."""


IGNORED = {
    13: "graphics or compute exception in an application",
    31: "invalid memory access by an application",
    43: "an application's work was stopped",
    45: "clean-up after a terminated application",
    68: "video processor exception",
    109: "application context switch timed out",
}

FATAL = {
    48: "uncorrectable memory error",
    62: "a GPU microcontroller has halted",
    64: "the retirement of faulty memory could not be recorded",
    74: "NVLink error",
    79: "the GPU has fallen off the bus",
    95: "memory error that may affect other applications",
    110: "security fault",
    119: "the GPU System Processor (GSP) does not answer",
    120: "error in the GPU System Processor (GSP)",
    140: "unrecovered memory error",
    143: "the GPU could not be initialized",
    158: "fatal GPU timeout",
}

OTHERS = {
    32: "corrupt command buffer",
    38: "driver firmware error",
    61: "microcontroller breakpoint or warning",
    63: "faulty memory was retired, or will be at the next reset",
    69: "graphics engine class error",
    92: "high rate of corrected memory errors",
    94: "memory error that affects one application only",
    121: "error on the link to the processor",
    145: "NVLink error that was handled",
    149: "NVLink network error",
    154: "the GPU's recovery action has changed",
}

_DESCRIPTIONS = IGNORED | FATAL | OTHERS


def describe(code: int) -> str:
    """Describe an XID."""
    return _DESCRIPTIONS.get(code, "see NVIDIA's XID catalogue")


class XidPolicy(msgspec.Struct, frozen=True):
    """The meaning of every XID, from the settings and from NVIDIA's two variables, which override them."""

    meanings: Mapping[int, XidMeaning]
    others: XidMeaning = XidMeaning.RECOVER
    probes: bool = True
    """Whether faults found by probes are taken into account; they are not if all health checks are disabled."""

    @classmethod
    def of(cls, table: XidTable, environment: Mapping[str, str]) -> Self:
        """Build the policy of a configuration.

        `DP_DISABLE_HEALTHCHECKS` is `all`, `xids` or a list of XIDs to ignore; `DP_ENABLE_HEALTHCHECKS` accepts the
        same and takes precedence. Other words have no effect (see `malformed`).
        """
        meanings = dict.fromkeys(IGNORED, XidMeaning.IGNORE) | dict.fromkeys(FATAL, XidMeaning.FATAL)
        for kind in XidMeaning:
            meanings |= dict.fromkeys(getattr(table, kind.value), kind)
        disabled, enabled = _words(environment, DISABLE), _words(environment, ENABLE)
        none = bool(disabled & _ALL) and not enabled & _ALL
        if none:
            meanings = {}
        meanings |= dict.fromkeys(_codes(disabled), XidMeaning.IGNORE)
        every = [code for code, meaning in meanings.items() if meaning is XidMeaning.IGNORE] if enabled & _ALL else ()
        for code in (*every, *_codes(enabled)):
            meanings[code] = XidMeaning.FATAL if code in FATAL else XidMeaning.RECOVER
        return cls(
            meanings,
            XidMeaning.IGNORE if none else XidMeaning.RECOVER,
            "all" not in disabled or bool(enabled),
        )

    @property
    def listens(self) -> bool:
        """Whether any XID affects health."""
        return any(meaning is not XidMeaning.IGNORE for meaning in (self.others, *self.meanings.values()))

    def meaning(self, code: int) -> XidMeaning:
        """Return the effect of an XID."""
        return self.meanings.get(code, self.others)


def malformed(environment: Mapping[str, str], variable: str) -> list[str]:
    """Return the words in a variable that are not XIDs; NVIDIA's plugin ignores them, too."""
    return sorted(word for word in _words(environment, variable) - _ALL if not _CODE.fullmatch(word))


def _words(environment: Mapping[str, str], variable: str) -> set[str]:
    return {word.strip() for word in environment.get(variable, "").lower().split(",")} - {""}


def _codes(words: set[str]) -> set[int]:
    return {int(word) for word in words if _CODE.fullmatch(word)}
