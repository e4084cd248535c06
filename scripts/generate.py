"""Generate the Python code of the wire APIs from hub/kubelet/wire/*.proto.

`generate.py` writes it; `generate.py --check` fails if the committed code differs.
"""

import argparse
import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = sorted((ROOT / "hub/kubelet/wire").glob("*.proto"))


def generate(into: Path) -> None:
    """Write the code for every .proto file below `into`, laid out as in the repository."""
    outputs = [f"--{kind}_out={into}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    plugins = [f"--plugin={Path(sys.executable).with_name(f'protoc-gen-{kind}')}" for kind in ("mypy", "mypy_grpc")]
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT}"]
    subprocess.run([*protoc, *plugins, *outputs, *map(str, PROTOS)], check=True)


def differing(fresh: Path) -> list[str]:
    """Return the generated files that differ between the repository and `fresh`."""
    made = [path.relative_to(fresh) for path in sorted(fresh.rglob("*_pb2*.py*"))]
    kept = [path.relative_to(ROOT) for path in sorted((ROOT / "hub").rglob("*_pb2*.py*")) if path.suffix != ".pyc"]
    stale = [path for path in kept if path not in made]
    return [
        str(path)
        for path in [*made, *stale]
        if path in stale or not (ROOT / path).exists() or not filecmp.cmp(fresh / path, ROOT / path, shallow=False)
    ]


def main() -> int:
    """Generate the code, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail on a difference")
    if not parser.parse_args().check:
        generate(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        changed = differing(Path(scratch))
    for path in changed:
        print(f"{path}: differs from its .proto file; run scripts/generate.py", file=sys.stderr)
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
