#!/bin/sh
# Runs one check of this node's device plugins, as node-problem-detector's custom plugin monitor expects:
# exit code 0: no problem; 1: problem; 2: unknown; and one line that says why.
#
#   device-plugin-hub.sh hub                    is a hub running on this node?
#   device-plugin-hub.sh plugins                are all its plugins working?
#   device-plugin-hub.sh devices/PLUGIN         can all devices of this plugin be used?
#   device-plugin-hub.sh restarts SECONDS       has a plugin crashed or been killed within the last SECONDS?
#   device-plugin-hub.sh rejections SECONDS     has a container failed to get its devices?
#   device-plugin-hub.sh resets SECONDS         has the reset of a device failed?
#
# It reads the files in the subdirectory "summary" of the hub's run directory, /run/dphub or DPHUB_RUN_DIR. Each
# running hub renews its file every 5 seconds; during an upgrade, a node has two hubs.

# Count bytes: node-problem-detector cuts the line at max_output_length bytes.
LC_ALL=C
question=$1
seconds=${2:-0}
directory=${DPHUB_RUN_DIR:-/run/dphub}/summary
max_age=30
max_bytes=800

answer() {
    [ -z "$2" ] || printf "%.${max_bytes}s\n" "$2"
    exit "$1"
}

if [ -z "$question" ]; then
    echo "usage: $0 hub|plugins|devices/PLUGIN|restarts SECONDS|rejections SECONDS|resets SECONDS" >&2
    exit 2
fi

now=$(date +%s)
hubs=0
state=
reason=
happened=
for file in "$directory"/*; do
    changed=$(date -r "$file" +%s 2>/dev/null) || continue
    age=$((now - changed))
    # A file time in the future, after the clock was set back, is not recent either.
    [ "$age" -le "$max_age" ] && [ "$age" -ge "-$max_age" ] || continue
    hubs=$((hubs + 1))
    while read -r name value text; do
        [ "$name" = "$question" ] || continue
        case $value in
            # Another hub on the node may have a problem with what this one serves.
            ok) state=ok ;;
            problem) [ "$state" = ok ] || { state=problem reason=$text; } ;;
            unknown) [ -n "$state" ] || { state=unknown reason=$text; } ;;
            # The shell would evaluate anything else, which may be a command.
            '' | 0* | *[!0-9]* | ???????????*) ;;
            *) [ "$((now - value))" -gt "$seconds" ] || happened="${happened:+$happened; }$text" ;;
        esac
    done <"$file"
done

if [ "$hubs" = 0 ]; then
    why="no hub has renewed its summary in $directory for $max_age s"
    case $question in
        hub) answer 1 "$why" ;;
        plugins | devices/*) answer 2 "$why" ;;
        # An unknown result would become an event, like a problem.
        *) answer 0 "" ;;
    esac
fi
[ -z "$happened" ] || answer 1 "$happened"
case $state in
    problem) answer 1 "$reason" ;;
    unknown) answer 2 "$reason" ;;
    # This includes the case that no hub has this plugin, since the node then has no such devices.
    *) answer 0 "" ;;
esac
