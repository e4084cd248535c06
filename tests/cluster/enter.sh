#!/bin/sh
# Run a command in new namespaces, which serve as a node: enter.sh SCRATCH COMMAND...
#
# SCRATCH/cgroups lists the cgroups in which everything runs; the node sees them as the roots. The node's files
# are the machine's, except for those that a node changes. All processes exit with this one.
set -eu
scratch=$1
while read -r group; do
    echo $$ >"$group/cgroup.procs"
done <"$scratch/cgroups"
exec unshare --mount --propagation slave --net --pid --fork --kill-child --cgroup \
    sh "$(dirname "$0")/node.sh" "$@"
