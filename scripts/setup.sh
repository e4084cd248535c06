#!/bin/sh
# Make the virtual environment $1 with the project and its tools. Debian and Ubuntu ship Python without venv and pip:
# where they are missing, install them first; and what the tests need besides: a C compiler for the driver that they
# simulate, Chromium for the hub's page, promtool for its metrics and alerts, kubectl and helm for its manifests.
set -eu
venv=$1

newest_python() {
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "setup: no Python 3.11 or newer was found; install one (apt-get install python3)" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

python=$(newest_python)
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "setup: this Python has no venv; installing python$version-venv" >&2
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "python$version-venv" >/dev/null
fi
if ! command -v cc >/dev/null; then
    echo "setup: no C compiler, which the tests need for the simulated GPU driver; installing gcc" >&2
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y gcc libc6-dev >/dev/null
fi
if ! command -v chromium >/dev/null; then
    echo "setup: no Chromium, in which the hub's page is tested; installing it" >&2
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >/dev/null
fi
"$python" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --editable '.[dev]'
if [ ! -x "$venv/bin/promtool" ]; then
    # Unpacked, not installed: the package would start a server.
    echo "setup: fetching promtool" >&2
    as_root apt-get update -qq
    scratch=$(mktemp -d)
    (cd "$scratch" && apt-get download -qq prometheus 2>/dev/null && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool)
    mv "$scratch/usr/bin/promtool" "$venv/bin/promtool"
    rm -r "$scratch"
fi
"$(dirname "$0")/kubetools.sh" "$venv"
