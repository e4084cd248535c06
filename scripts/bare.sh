#!/bin/sh
# Test this checkout's last commit on a bare machine:
#
#   scripts/bare.sh ROOTFS demo         `make demo` as a plain user, as root, and as a plain user again
#   scripts/bare.sh ROOTFS 'make test'  this or another command, as root
#
# ROOTFS is the root file system of a machine that has only git, make, Python and certificates, such as
#
#   debootstrap --variant=minbase --include=ca-certificates,git,make,python3 trixie ROOTFS
#   debootstrap --variant=minbase --include=ca-certificates,git,make,python3 --components=main,universe noble ROOTFS
#
# ROOTFS is not changed: everything is installed in a layer above it, which is removed at the end. This machine's
# resolver, certificates and pip settings apply inside. The script needs root. For each command, it shows the time that
# the command took, and the installed packages before and after it.
set -eu

mount_root() {
    mkdir "$scratch/root" "$scratch/layer" "$scratch/work"
    mount -t overlay overlay -o "lowerdir=$rootfs,upperdir=$scratch/layer,workdir=$scratch/work" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    mount -t tmpfs tmpfs "$root/run"
    for file in /etc/resolv.conf /etc/hosts /etc/pip.conf "$certificates"; do
        [ ! -e "$file" ] || cp --dereference "$file" "$root$file"
    done
}

inside() {
    chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        PIP_CERT="$certificates" SSL_CERT_FILE="$certificates" "$@"
}

installed() {
    # shellcheck disable=SC2016 # dpkg-query expands it
    inside dpkg-query --show --showformat='${Installed-Size}\n' |
        awk '{ size += $1 } END { printf "%d distribution packages, %d MB", NR, size / 1024 }'
}

# Run a command in a user's clone, show its cost, and return its exit code.
try() {
    user=$1 command=$2
    echo "== $command as $user, before: $(installed)"
    started=$(date +%s)
    code=0
    inside su "$user" -c "cd ~/hub && $command" || code=$?
    echo "== $command as $user: exit code $code after $(($(date +%s) - started)) s, now: $(installed)"
    return "$code"
}

clone_for() {
    home=$(inside sh -c "echo ~$1")
    git clone --quiet "$checkout" "$root$home/hub"
    inside chown -R "$1:" "$home/hub"
}

demo() {
    inside useradd --create-home tester
    clone_for tester
    clone_for root
    if ! inside python3 -c 'import ensurepip' 2>/dev/null && try tester 'make demo'; then
        echo "== this should have failed: python3-venv is not installed"
        exit 1
    fi
    try root 'make demo'
    try tester 'make demo'
    try tester 'make demo'
}

certificates=/etc/ssl/certs/ca-certificates.crt
if [ "${1-}" != --inside ]; then
    [ $# = 2 ] || { echo "usage: $0 ROOTFS demo|COMMAND" >&2; exit 2; }
    scratch=$(mktemp --directory --tmpdir=/var/tmp bare.XXXXXX)
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 130' INT TERM
    # Leftover mounts and processes disappear with their namespaces.
    unshare --mount --pid --fork --kill-child --mount-proc "$0" --inside "$scratch" "$@"
    exit
fi
scratch=$2 rootfs=$(realpath "$3") what=$4
root=$scratch/root
checkout=$(realpath "$(dirname "$0")/..")
mount_root
if [ "$what" = demo ]; then
    demo
else
    clone_for root
    try root "$what"
fi
