#!/bin/bash
# Everything of the cluster is below this process, which is PID 1 of a namespace: when it ends, the
# kernel ends all the rest. It ends when its standard input does, unless it has read "stay": so a
# cluster goes with whoever started it, however that ended.
set -eu; . "$SCRIPTS/env.sh"
trap 'exit 0' TERM INT
# The wire between the nodes: a bridge in this process's network namespace.
ip link set lo up
ip link add br0 type bridge; ip addr add 10.55.0.1/24 dev br0; ip link set br0 up
ip addr add fd00:55::1/64 dev br0 nodad
for me in $NODES; do
  unshare --net --mount --pid --uts --ipc --fork --mount-proc --kill-child \
    bash -c "until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done; exec '$SCRIPTS/node.sh' $me" </dev/null &
  outer=$!
  until pid=$(cat /proc/$outer/task/$outer/children) && [ -n "$pid" ]; do sleep 0.05; done
  ip link add "v-$me" type veth peer name eth0 netns ${pid% }
  ip link set "v-$me" master br0; ip link set "v-$me" up
done
read -r word || exit 0
[ "$word" = stay ] || exit 0
while :; do wait -n 2>/dev/null || sleep 1; done
