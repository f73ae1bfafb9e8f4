#!/bin/sh
# The first process of a machine of `cargo xtask vm`: a node of two pods, watched by the real `mtls`.
# From the kernel's command line: MTLS_MODE is how it has to attach here (tcx or clsact), MTLS_WAIT for
# how many seconds each step may take.
# The last line says `vm: passed …` or `vm: failed: …`; then the machine is switched off.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin

# Debian's busybox takes its own applets first.
ip() { /usr/sbin/ip "$@"; }
tc() { /usr/sbin/tc "$@"; }

pass() {
    echo "vm: passed: $*"
    poweroff -f
}

fail() {
    echo "--- the daemon's log"
    cat /tmp/daemon.log 2>/dev/null
    echo "--- mtls status"
    mtls status 2>&1
    echo "--- programs in the kernel"
    bpftool prog show 2>&1
    echo "vm: failed: $*"
    poweroff -f
}

# Runs a command up to once in 0.2 s until it succeeds: emulation is slow.
await() {
    tries=$((MTLS_WAIT * 5))
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.2
    done
}

# A pod's namespace, with a veth to the node's: name, network.
pod() {
    ip netns add "shop.$1" &&
        ip link add "veth-$1" type veth peer name eth0 netns "shop.$1" &&
        ip addr add "$2.1/24" dev "veth-$1" &&
        ip link set "veth-$1" up &&
        ip -n "shop.$1" addr add "$2.2/24" dev eth0 &&
        ip -n "shop.$1" link set lo up &&
        ip -n "shop.$1" link set eth0 up &&
        ip -n "shop.$1" route add default via "$2.1"
}

# A pod with a netkit pair instead of a veth, as Cilium makes it: without Ethernet addresses, so there
# is no ARP. Its peer's name is the kernel's choice.
netkit_pod() {
    ip netns add "shop.$1" &&
        ip link add "nk-$1" type netkit || return 1
    peer=$(ip -o link | sed -n "s/^[0-9]*: \([^@:]*\)@nk-$1:.*/\1/p")
    ip link set "$peer" netns "shop.$1" name eth0 &&
        ip addr add "$2.1/24" dev "nk-$1" &&
        ip link set "nk-$1" up &&
        ip -n "shop.$1" addr add "$2.2/24" dev eth0 &&
        ip -n "shop.$1" link set lo up &&
        ip -n "shop.$1" link set eth0 up &&
        ip -n "shop.$1" route add default via "$2.1"
}

# What the kernel holds of ours, attached or not.
programs() {
    bpftool prog show | grep -c -E 'name mtls_(egress|ingress)'
}

programs_are() { [ "$(programs)" -eq "$1" ]; }
is_ready() { grep -q 'ready: .* 2 interfaces' /tmp/daemon.log; }
is_gone() { ! kill -0 "$1" 2>/dev/null; }
is_served() { wget -q -O /dev/null http://10.1.2.2/; }

# The daemon in the background, attached to both pods.
start() {
    RUST_BACKTRACE=1 mtls daemon --no-cri >/tmp/daemon.log 2>&1 &
    daemon=$!
    await is_ready || fail "the daemon did not get ready"
}

# A plaintext edge from web to the named pod, of which both directions were seen at both ends.
is_edge() {
    mtls edges -o jsonl >/tmp/edges 2>&1
    grep '"src":{[^}]*"name":"web"' /tmp/edges | grep "\"dst\":{[^}]*\"name\":\"$1\"" |
        grep '"reporter":"both"' | grep -q '"verdict":"plaintext"'
}

# A connection to this address was seen with its answer.
is_answered() {
    mtls flows -o jsonl >/tmp/flows 2>&1
    grep "\"dst\":{\"ip\":\"$1\"" /tmp/flows | grep -q '"status":200'
}

modes() {
    mtls status -o json | grep -o '"mode": *"[a-z]*"' | sed 's/.*"\(.*\)"/\1/' | sort | uniq -c | xargs
}

modes_are() { [ "$(modes)" = "$1" ]; }

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t bpf bpf /sys/fs/bpf
echo 3 >/proc/sys/kernel/printk
for module in veth sch_ingress cls_bpf; do
    insmod "/modules/$module.ko" || fail "load the module $module"
done
echo 1 >/proc/sys/net/ipv4/ip_forward
ip link set lo up
pod web 10.1.1 && pod store 10.1.2 || fail "make the pods"
mkdir -p /www
echo "in stock" >/www/index.html
ip netns exec shop.store httpd -f -p 80 -h /www &
await is_served || fail "the store's server did not get ready"

mtls doctor

echo "--- load, attach"
programs_are 0 || fail "there are programs before the start"
start
programs_are 2 || fail "$(programs) programs are loaded and not 2"
modes_are "2 $MTLS_MODE" || fail "attached by \"$(modes)\" and not \"2 $MTLS_MODE\""

echo "--- sample"
answer=$(ip netns exec shop.web wget -q -O - http://10.1.2.2/)
[ "$answer" = "in stock" ] || fail "the web pod got \"$answer\" from the store"
await is_edge store || fail "no plaintext edge from web to store: $(cat /tmp/edges)"
cat /tmp/edges
netkit="no netkit"
if [ "$MTLS_MODE" = tcx ]; then
    echo "--- netkit"
    netkit_pod cache 10.1.3 || fail "make a pod with netkit"
    await modes_are "3 tcx" || fail "attached by \"$(modes)\" and not \"3 tcx\""
    ip netns exec shop.cache httpd -f -p 80 -h /www &
    await ip netns exec shop.web wget -q -O /dev/null http://10.1.3.2/ || fail "no answer over netkit"
    await is_edge cache || fail "no plaintext edge from web to cache: $(cat /tmp/edges)"
    # Only the pod's own interface sees this.
    wget -q -O /dev/null http://10.1.3.2/ || fail "no answer over netkit to the node"
    await is_answered 10.1.3.2 || fail "no answer seen over netkit: $(cat /tmp/flows)"
    netkit="netkit followed"
fi
mtls status -o json >/tmp/status
mtls status
sampled=$(sed -n 's/.*"sampled": *\([0-9]*\).*/\1/p' /tmp/status | head -n 1)
[ "${sampled:-0}" -gt 0 ] || fail "nothing was sampled"
# One emulated CPU may wait for another longer than the kernel program waits for a flow's lock: then a
# sample is lost, and counted as `lost_map_full`.
lost=$(grep -o '"lost_[a-z_]*": *[0-9]*' /tmp/status | grep -v map_full | xargs)
[ -n "$lost" ] || fail "the status does not say what was lost"
case "$lost" in *[1-9]*) fail "samples were lost: $lost" ;; esac

# A verifier that refuses what follows datagrams leaves them counted only.
grep "UDP is counted" /tmp/daemon.log && fail "UDP is not followed"

echo "--- detach"
kill -TERM $daemon
await is_gone $daemon || fail "the daemon does not end on SIGTERM"
wait $daemon || fail "the daemon ended with $? on SIGTERM"
await programs_are 0 || fail "$(programs) programs are left after SIGTERM"
filters=$(for veth in veth-web veth-store nk-cache; do
    for hook in ingress egress; do tc filter show dev $veth $hook 2>/dev/null; done
done)
[ -z "$filters" ] || fail "filters are left after SIGTERM: $filters"

echo "--- killed"
start
kill -KILL $daemon
await is_gone $daemon
wait $daemon
if [ "$MTLS_MODE" = tcx ]; then
    await programs_are 0 || fail "$(programs) programs are left by a killed daemon"
else
    # The filters stay, and hold the programs, until the next start replaces them.
    start
    await programs_are 2 || fail "$(programs) programs with a killed daemon's successor and not 2"
    kill -TERM $daemon
    wait $daemon || fail "the successor ended with $? on SIGTERM"
    await programs_are 0 || fail "$(programs) programs are left by the successor"
fi
pass "$(uname -r), attached by $MTLS_MODE, $sampled segments sampled, $netkit, nothing left behind"
