# shellcheck shell=sh
# Functions of setup.sh and tools.sh: messages, and installations that need root.

say() {
    echo "setup: $*" >&2
}

# Return whether apt has a package. It has none before the first `apt-get update`, and none on other distributions.
in_archive() {
    [ -n "$(apt-cache madison "$1" 2>/dev/null)" ]
}

# Return whether sudo works: it needs no password, or the user can type one.
sudo_works() {
    command -v sudo >/dev/null || return 1
    sudo -n true 2>/dev/null && return
    [ -t 0 ] && sudo -v
}

# Print the reason and run a command as root. If that is not possible, print the command to run and stop.
as_root() {
    why=$1 command=$2
    say "$why; as root: $command"
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive sh -c "$command"
    elif sudo_works; then
        sudo env DEBIAN_FRONTEND=noninteractive sh -c "$command"
    else
        become=$(command -v sudo >/dev/null && echo "sudo sh" || echo su)
        say "only root can do this. Run the following command, then run make again:"
        echo "    $become -c '$command'" >&2
        exit 1
    fi
}

install_packages() {
    why=$1
    shift
    if ! command -v apt-get >/dev/null; then
        say "$why; there is no apt-get here: install the equivalents of Debian's packages $*, then run make again"
        exit 1
    fi
    as_root "$why" "apt-get update && apt-get install --yes --no-install-recommends $*"
}
