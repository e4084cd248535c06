"""Make docs/status.schema.json, what `dphub status --json` and `/status` say, from the code.

`schema.py` writes it; `schema.py --check` fails when what is committed differs.
"""

import argparse
import ast
import inspect
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from hub.state import hub, plugin
from hub.status import model

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "status.schema.json"


def make_schema() -> str:
    """The JSON schema, with what the code's docstrings say of each field."""
    schema = msgspec.json.schema(model.NodeStatus)
    told = {name: fields for module in (model, plugin, hub) for name, fields in _described(inspect.getsource(module))}
    for name, definition in schema["$defs"].items():
        for field, described in definition.get("properties", {}).items():
            if text := told.get(name, {}).get(field):
                described["description"] = text
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "The condition of a node", **schema}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _described(source: str) -> list[tuple[str, dict[str, str]]]:
    """The classes of a module, and the texts that stand below their fields."""
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    return [(each.name, dict(_fields(each.body))) for each in classes]


def _fields(body: list[Any]) -> list[tuple[str, str]]:
    return [
        (field.target.id, " ".join(text.value.value.split()))
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    ]


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail on a difference")
    if not parser.parse_args().check:
        TARGET.write_text(make_schema())
        return 0
    if TARGET.read_text() == make_schema():
        return 0
    print(f"{TARGET}: is not what the code says; run scripts/schema.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
