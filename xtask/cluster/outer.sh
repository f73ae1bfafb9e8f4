#!/bin/bash
# Starts the keeper in namespaces of its own, and after its end removes what has no namespace: the
# nodes' control groups.
. "$SCRIPTS/env.sh"
sweep() {
  for h in /sys/fs/cgroup/ /sys/fs/cgroup/*/; do
    for n in $NODES; do
      [ ! -d "$h$(cgroup $n)" ] || find "$h$(cgroup $n)" -depth -type d -exec rmdir {} \; 2>/dev/null
    done
  done
}
# A predecessor that was killed may have left some.
sweep
# Ctrl-C and hang-ups are for the one who started this: its end is what counts.
trap '' INT HUP TERM
[ "${1:-}" != sweep ] || exit 0
unshare --net --mount --pid --fork --mount-proc --kill-child "$SCRIPTS/keeper.sh"
# The last of its processes may take a moment to go.
for _ in 1 2 3 4 5 6 7 8 9 10; do
  sweep
  ls -d /sys/fs/cgroup/k8s-$ID-* /sys/fs/cgroup/*/k8s-$ID-* >/dev/null 2>&1 || exit 0
  sleep 0.2
done
echo "control groups of the cluster are left: $(ls -d /sys/fs/cgroup/k8s-$ID-* /sys/fs/cgroup/*/k8s-$ID-* 2>/dev/null)" >&2
exit 1
