"""The node labels that a plugin returns, validated."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hub.api.device import Device
from hub.api.plugin import Plugin
from hub.base.calls import limited
from hub.base.failures import PluginError, one_line, short_repr
from hub.base.featurefiles import MAX_ANSWER, MAX_LABELS, is_health_label, label_problem
from hub.base.wording import shortened
from hub.plugin.devices.validation import wrong_answer

MAX_PROBLEMS = 8
"""Maximum number of labels in a message about invalid ones."""


class ScannedLabels(NamedTuple):
    """The labels that a plugin offers after a scan."""

    labels: Mapping[str, str] | None = None
    """Those that are valid, by name; None if they are unknown."""
    problem: str = ""
    """What is wrong with the others."""


def read_labels(plugin: Plugin, devices: Sequence[Device]) -> ScannedLabels:
    """Query a plugin for labels. Invalid ones are dropped, and the others kept. After an error, the last ones stay."""
    try:
        labels = _mapping(plugin.labels(devices))
    except Exception as error:  # noqa: BLE001 - plugin code; its devices can be used without labels
        return ScannedLabels(problem=str(PluginError.of(error, plugin.labels)))
    problems = {name: problem for name, value in labels.items() if (problem := _problem(name, value))}
    valid = [(name, value) for name, value in labels.items() if name not in problems]
    texts = [
        one_line(f"{short_repr(name)}: {short_repr(labels[name])}: {problem}") for name, problem in problems.items()
    ]
    if len(valid) > MAX_LABELS:
        texts.append(f"{len(valid)} labels, expected at most {MAX_LABELS}: only the first ones count")
    return ScannedLabels(dict(valid[:MAX_LABELS]), "; ".join(shortened(texts, MAX_PROBLEMS, "label", "with a problem")))


def _problem(name: object, value: object) -> str:
    # Otherwise one plugin could say that the devices of another are healthy.
    return "only the hub may set this label" if is_health_label(name) else label_problem(name, value)


def _mapping(answer: object) -> dict[Any, Any]:
    if not isinstance(answer, Mapping):
        raise wrong_answer(answer, 'strings by name, such as {"example.com/model": "x"}')
    # The mapping may be endless.
    return {name: answer[name] for name in limited(answer, MAX_ANSWER, "labels")}
