"""node-problem-detector running a custom plugin monitor (pkg/custompluginmonitor in its sources, 1.36).

A field that the program does not know, and would ignore, counts as a mistake here.
"""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_BYTES = 4096
"""How many bytes of a script's output are read."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A script to run, and the effect of its result."""

    type: str
    reason: str
    path: str
    condition: str = ""
    args: tuple[str, ...] = ()
    timeout: str = ""
    invoke_interval: str = ""


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A condition of the node, with its values while there is no problem."""

    type: str
    reason: str
    message: str


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of all rules; the defaults are the program's."""

    invoke_interval: str = "30s"
    timeout: str = "5s"
    max_output_length: int = 80
    concurrency: int = 3
    enable_message_change_based_condition_update: bool = False
    skip_initial_status: bool = False


class Monitor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"settings": "pluginConfig"}):
    """The file of one monitor."""

    source: str
    conditions: tuple[Condition, ...]
    rules: tuple[Rule, ...]
    plugin: str = ""
    settings: Settings = Settings()
    metricsReporting: bool = True  # noqa: N815 - the program's name

    def mistakes(self) -> list[str]:
        """Return why the program would exit when it reads this file, and which parts of the file have no effect."""
        limit, known = seconds(self.settings.timeout), {each.type for each in self.conditions}
        found = [] if self.plugin == "custom" else ["plugin is not custom"]
        if seconds(self.settings.invoke_interval) <= 0:
            found.append("the interval is 0")
        for rule in self.rules:
            if rule.type not in {"permanent", "temporary"}:
                found.append(f"{rule.reason}: unknown type")
            if rule.type == "permanent" and rule.condition not in known:
                found.append(f"{rule.reason}: unknown condition")
            if rule.type == "temporary" and rule.condition:
                found.append(f"{rule.reason}: its condition has no effect")
            if rule.timeout and seconds(rule.timeout) > limit:
                found.append(f"{rule.reason}: its timeout exceeds the overall timeout")
            if rule.invoke_interval and seconds(rule.invoke_interval) <= 0:
                found.append(f"{rule.reason}: the interval is 0")
            if not Path(rule.path).exists():
                found.append(f"{rule.reason}: no such program")
        return found


def seconds(duration: str) -> float:
    """Return a duration as Go reads it."""
    parts = _DURATION.findall(duration)
    assert parts, duration
    assert "".join(number + unit for number, unit in parts) == duration, duration
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


@dataclass
class Detector:
    """A detector that runs the rules of a monitor, each on request.

    Args:
        monitor: The monitor.
        places: Maps each path in the monitor to the file's path on this machine; other paths are used as they are.
        environment: The environment of the scripts.

    Attributes:
        conditions: By type, the status, reason and message that the node would have; empty before the first run.
        events: The reason and message of each event about a temporary problem.
    """

    monitor: Monitor
    places: Mapping[str, str]
    environment: Mapping[str, str]
    conditions: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)

    def run(self) -> None:
        """Run every rule once, in order, as at the program's start; with one rule at a time, later runs do the same."""
        self.events.clear()
        for rule in self.monitor.rules:
            code, message = self.output(rule.path, rule.args)
            if rule.type == "temporary":
                # A script whose exit code means "unknown" also causes an event.
                self.events += [(rule.reason, message)] if code else []
            else:
                self._set_condition(rule, code, message)

    def output(self, path: str, args: Sequence[str]) -> tuple[int, str]:
        """Run a script; return its exit code and the part of its output that the program uses as the message."""
        words = [self.places.get(word, word) for word in (path, *args)]
        done = subprocess.run(
            words, env=dict(self.environment), capture_output=True, check=False, timeout=60, stdin=subprocess.DEVNULL
        )
        assert done.stderr == b"", done.stderr
        text = done.stdout[:_MAX_BYTES].decode(errors="replace").strip()
        return done.returncode, text.encode()[: self.monitor.settings.max_output_length].decode(errors="replace")

    def _set_condition(self, rule: Rule, code: int, message: str) -> None:
        (good,) = [each for each in self.monitor.conditions if each.type == rule.condition]
        status = {0: "False", 1: "True"}.get(code, "Unknown")
        reason = rule.reason if status == "True" else good.reason
        before = self.conditions.get(rule.condition)
        keeps = before and before[:2] == (status, reason)
        if not (keeps and not self.monitor.settings.enable_message_change_based_condition_update):
            self.conditions[rule.condition] = (status, reason, good.message if status == "False" else message)


def load(path: Path) -> Monitor:
    """Read the file of a monitor."""
    return msgspec.convert(json.loads(path.read_text(encoding="utf-8")), Monitor)
