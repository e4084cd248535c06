#!/bin/sh
# Set up a node in new namespaces, then run a command on it: node.sh SCRATCH COMMAND...
set -eu
scratch=$1
shift

# A pod can request that the node's mounts propagate to it.
mount --make-rshared /
mount -t proc proc /proc
# Mount sysfs again, for the node's cgroups: with the old mount, programs would first find the cgroups outside the node.
umount --recursive --lazy /sys
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 run /run
mkdir "$scratch/lib" "$scratch/log"
mount --bind "$scratch/lib" /var/lib
mount --bind "$scratch/log" /var/log
mkdir -p /var/lib/kubelet

# A kubelet changes these kernel settings, which the whole machine shares, so it gets files in place of them.
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys \
    kernel/keys/root_maxbytes; do
    file=$scratch/$(echo "$setting" | tr / .)
    cat "/proc/sys/$setting" >"$file"
    mount --bind "$file" "/proc/sys/$setting"
done

if grep -q '^[0-9]*:[^:]' /proc/self/cgroup; then
    mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
    while IFS=: read -r _ controllers _; do
        case $controllers in
        '') continue ;;
        name=*) options=none,$controllers ;;
        *) options=$controllers ;;
        esac
        mkdir "/sys/fs/cgroup/${controllers#name=}"
        mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/${controllers#name=}"
    done </proc/self/cgroup
else
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    # A group with processes has no controllers for its children.
    mkdir /sys/fs/cgroup/programs
    echo $$ >/sys/fs/cgroup/programs/cgroup.procs
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
        echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
    done
fi

# The node's address is in a range for documentation.
ip link set lo up
ip address add 192.0.2.1/32 dev lo

# exec is not used: this shell, the first process, waits for processes whose parents have exited.
"$@"
