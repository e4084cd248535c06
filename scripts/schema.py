"""Generate docs/status.schema.json, the schema of `dphub status --json`, `/status` and `/history`, from the code.

`python -m scripts.schema` writes it; with `--check` it fails if the committed file differs.
"""

import argparse
import json
import sys
from pathlib import Path

import msgspec

from hub.model import history, hub, plugin
from hub.model import node as model
from scripts.docstrings import field_texts

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "status.schema.json"


def make_schema() -> str:
    """Return the JSON schema, with the docstring of each field."""
    schema = msgspec.json.schema(model.NodeStatus)
    _, others = msgspec.json.schema_components([history.NodeHistory], ref_template="#/$defs/{name}")
    schema["$defs"] |= others
    texts = {name: fields for module in (model, plugin, hub, history) for name, fields in field_texts(module).items()}
    for name, definition in schema["$defs"].items():
        for field, described in definition.get("properties", {}).items():
            if text := texts.get(name, {}).get(field):
                described["description"] = text
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "The status of a node", **schema}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the file, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail on a difference")
    if not parser.parse_args().check:
        TARGET.write_text(make_schema())
        return 0
    if TARGET.read_text() == make_schema():
        return 0
    print(f"{TARGET}: differs from the code; run python -m scripts.schema", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
