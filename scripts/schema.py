"""Make docs/status.schema.json, what `dphub status --json` and `/status` say, from the code.

`schema.py` writes it; `schema.py --check` fails when what is committed differs.
"""

import argparse
import json
import sys
from pathlib import Path

import msgspec

from hub.model import hub, plugin
from hub.model import node as model
from scripts.docstrings import field_texts

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "status.schema.json"


def make_schema() -> str:
    """The JSON schema, with what the code's docstrings say of each field."""
    schema = msgspec.json.schema(model.NodeStatus)
    told = {name: fields for module in (model, plugin, hub) for name, fields in field_texts(module).items()}
    for name, definition in schema["$defs"].items():
        for field, described in definition.get("properties", {}).items():
            if text := told.get(name, {}).get(field):
                described["description"] = text
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "The status of a node", **schema}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


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
