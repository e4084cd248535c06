"""A check of whether an API server accepts an object. Unknown keys, about which it only warns, count as errors."""

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

OLDEST, NEWEST = "1.25", "1.37"
"""The Kubernetes releases that the manifests support."""

_SINCE = {"ValidatingAdmissionPolicy": "1.30", "ValidatingAdmissionPolicyBinding": "1.30"}
"""The oldest release with these kinds, for a component that needs a newer Kubernetes than the rest of the manifests."""

_OTHERS: dict[str, Any] = json.loads(Path(__file__).with_name("manifest_schemas.json").read_text())
"""Schemas of objects that Kubernetes itself does not define; only the keys that make sense here are listed."""


def mistakes(objects: Iterable[dict[str, Any]]) -> list[str]:
    """Return the errors that the oldest and the newest release find in objects."""
    return [problem for each in objects for problem in _mistakes(json.dumps(each, sort_keys=True))]


@cache
def _mistakes(text: str) -> tuple[str, ...]:
    import kubernetes_validate  # noqa: PLC0415 - takes more than a second in each process

    each = json.loads(text)
    about = f"{each['kind']} {each['metadata']['name']}"
    if each["kind"] in _OTHERS:
        schema = {"$defs": _OTHERS["$defs"], **_OTHERS[each["kind"]]}
        return tuple(f"{about}: {error.json_path}: {error.message}" for error in _errors(schema, each))
    found = []
    for version in (_SINCE.get(each["kind"], OLDEST), NEWEST):
        try:
            kubernetes_validate.validate(each, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{about}, Kubernetes {version}: {error.message}")
    return tuple(found)


def _errors(schema: dict[str, Any], each: dict[str, Any]) -> Iterable[Any]:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - as above

    return Draft202012Validator(schema).iter_errors(each)
