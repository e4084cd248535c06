"""What XIDs, the error reports of NVIDIA's driver, mean for a GPU's health.

The defaults: NVIDIA's device plugin ignores the ones that applications cause. Of the others, those are fatal for which
NVIDIA's XID catalogue wants the GPU reset or the node restarted; a GPU recovers from the rest by itself.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Self

import msgspec

from hub import ConfigError
from plugins.gpu.settings.file import XidTable

DISABLE = "DP_DISABLE_HEALTHCHECKS"
ENABLE = "DP_ENABLE_HEALTHCHECKS"


class XidMeaning(StrEnum):
    """What follows from an XID."""

    IGNORE = "ignore"
    """Nothing."""
    RECOVER = "recover"
    """The GPU is unhealthy until a probe and a quiet time have passed."""
    FATAL = "fatal"
    """The GPU is unhealthy until it is reset, or an operator says otherwise."""


IGNORED = {
    13: "an application's graphics or compute exception",
    31: "an application's access to memory that it has not",
    43: "an application's work was stopped",
    45: "the clean-up after an application that was ended",
    68: "a video processor exception",
    109: "an application's context switch took too long",
}

FATAL = {
    48: "a memory error that could not be corrected",
    62: "a micro-controller of the GPU has halted",
    64: "the retirement of bad memory could not be recorded",
    74: "an NVLink error",
    79: "the GPU has fallen off the bus",
    95: "a memory error that may have reached other applications",
    110: "a security fault",
    119: "the GPU's system processor does not answer",
    120: "an error in the GPU's system processor",
    140: "an unrecovered memory error",
    143: "the GPU could not be initialized",
    158: "a fatal time-out of the GPU",
}

OTHERS = {
    32: "a corrupt command buffer",
    38: "a driver firmware error",
    61: "a breakpoint or warning of a micro-controller",
    63: "bad memory was retired, or is to be at the next reset",
    69: "a graphics engine class error",
    92: "a high rate of corrected memory errors",
    94: "a memory error that concerns one application only",
    121: "an error on the link to the processor",
    145: "an NVLink error that was handled",
    149: "an NVLink network error",
    154: "what the GPU needs to recover has changed",
}

_WORDS = IGNORED | FATAL | OTHERS


def describe(code: int) -> str:
    """An XID in words."""
    return _WORDS.get(code, "see NVIDIA's XID catalogue")


class XidPolicy(msgspec.Struct, frozen=True):
    """The meaning of every XID, by the settings and by NVIDIA's two variables, which override them."""

    meanings: Mapping[int, XidMeaning]
    others: XidMeaning = XidMeaning.RECOVER
    probes: bool = True
    """Whether what a probe finds counts; it does not where all health checks are switched off."""

    @classmethod
    def of(cls, table: XidTable, environment: Mapping[str, str]) -> Self:
        """The policy of a configuration.

        `DP_DISABLE_HEALTHCHECKS` is `all`, `xids` or a list of XIDs that are to be ignored; `DP_ENABLE_HEALTHCHECKS`
        takes the same and wins.

        Raises:
            ConfigError: a variable is none of that.
        """
        meanings = dict.fromkeys(IGNORED, XidMeaning.IGNORE) | dict.fromkeys(FATAL, XidMeaning.FATAL)
        for kind in XidMeaning:
            meanings |= dict.fromkeys(getattr(table, kind.value), kind)
        disabled, enabled = _read(environment, DISABLE), _read(environment, ENABLE)
        none = bool(disabled & {"all", "xids"}) and not enabled & {"all", "xids"}
        if none:
            meanings = {}
        meanings |= dict.fromkeys(_codes(disabled), XidMeaning.IGNORE)
        for code in _codes(enabled):
            meanings[code] = XidMeaning.FATAL if code in FATAL else XidMeaning.RECOVER
        return cls(
            meanings,
            XidMeaning.IGNORE if none else XidMeaning.RECOVER,
            "all" not in disabled or bool(enabled),
        )

    @property
    def listens(self) -> bool:
        """Whether any XID means anything."""
        return any(meaning is not XidMeaning.IGNORE for meaning in (self.others, *self.meanings.values()))

    def meaning(self, code: int) -> XidMeaning:
        """What follows from an XID."""
        return self.meanings.get(code, self.others)


def _read(environment: Mapping[str, str], variable: str) -> set[str]:
    words = {word.strip() for word in environment.get(variable, "").lower().split(",")} - {""}
    for word in words - {"all", "xids"}:
        if not word.isdigit():
            raise ConfigError(variable, f'"{word}" is no XID, expected "all", "xids" or a list of XIDs like "13,31"')
    return words


def _codes(words: set[str]) -> set[int]:
    return {int(word) for word in words if word.isdigit()}
