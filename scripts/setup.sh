#!/bin/sh
# Set up the virtual environment VENV: scripts/setup.sh VENV demo|dev
#
#   demo  the package and its dependencies
#   dev   the same, and the Python packages for development
#
# Neither needs root if Python has venv, which is a separate package in Debian and Ubuntu. The file VENV/demo or VENV/dev
# marks a complete set-up; an interrupted one starts over.
set -eu
venv=$1 part=$2
# shellcheck source=scripts/apt.sh
. "$(dirname "$0")/apt.sh"

# Print the first Python 3.11 or newer.
find_python() {
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# Print the oldest Python in the archive that is new enough; the default one if apt has no package lists yet.
python_in_archive() {
    for package in python3.11-venv python3.12-venv python3.13-venv python3.14-venv; do
        if in_archive "$package"; then
            echo "$package"
            return
        fi
    done
    echo python3-venv
}

need_python() {
    if ! python=$(find_python); then
        install_packages "there is no Python 3.11 or newer" "$(python_in_archive)"
        python=$(find_python) || install_packages "the default Python is too old" "$(python_in_archive)"
        python=$(find_python) || { say "this distribution has no Python 3.11 or newer; upgrade it"; exit 1; }
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        install_packages "$("$python" --version) has no venv" \
            "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    fi
}

make_venv() {
    if [ -e "$venv/unfinished" ]; then
        say "an earlier set-up was interrupted; starting over"
        rm -rf "$venv"
    elif "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    elif [ -e "$venv" ]; then
        say "$venv has no Python with pip; remove it (rm -r $venv), then run make again"
        exit 1
    fi
    say "creating the virtual environment $venv with $("$python" --version)"
    mkdir "$venv"
    : >"$venv/unfinished"
    "$python" -m venv "$venv"
}

install() {
    say "installing $1"
    : >"$venv/unfinished"
    "$venv/bin/python" -m pip install --disable-pip-version-check --editable "$2"
    rm "$venv/unfinished"
}

case $part in
demo) stamps=$venv/demo what="the package and its dependencies" requirement=. ;;
dev) stamps="$venv/demo $venv/dev" what="the package and the tools for development" requirement='.[dev]' ;;
*) say "$part: unknown part, expected demo or dev" && exit 2 ;;
esac
started=$(date +%s)
need_python
make_venv
install "$what" "$requirement"
packages=$(find "$venv"/lib/*/site-packages -maxdepth 1 -name '*.dist-info' | wc -l)
say "ready in $(($(date +%s) - started)) s: $packages packages, $(du -sm "$venv" | cut -f1) MB in $venv"
# shellcheck disable=SC2086 # one word each
touch $stamps
