#!/bin/bash
# One node, as PID 1 of namespaces of its own (network, mount, PID, UTS, IPC), which keeper.sh makes.
# All of it ends with this process.
set -eu; . "$SCRIPTS/env.sh"
me=$1; ip=$(node_ip $me); ip6=$(node_ip6 $me); log=$STATE/log/$me; mkdir -p $log; group=$(cgroup $me); KUBE=$BIN/kube
# PID 1 has no default signal handlers: say so.
trap 'exit 0' TERM INT
hostname $me

# --- what the node sees of files: /run, /var/lib, /var/log of its own; a /sys of its network
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/cg; mount --rbind /sys/fs/cgroup /mnt/cg
mount -t sysfs sysfs /sys
mount --rbind /mnt/cg /sys/fs/cgroup; umount -l /mnt/cg
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null || true
for d in /run /var/lib /var/log; do mount -t tmpfs tmpfs $d; done
mkdir -p /run/lock /run/netns /var/lib/kubelet
# The kubelet wants six settings of the kernel's that are the whole machine's; show it files that
# hold what it wants, so that it writes nothing.
fake() { mkdir -p /run/fake; echo $2 >/run/fake/${1//\//.}; mount --bind /run/fake/${1//\//.} /proc/sys/$1; }
fake vm/overcommit_memory 1; fake vm/panic_on_oom 0; fake kernel/panic 10; fake kernel/panic_on_oops 1
fake kernel/keys/root_maxkeys 1000000; fake kernel/keys/root_maxbytes 25000000
umount /mnt
mount --make-rshared /          # so that mountPropagation works

# --- control groups: a root for this node's pods, outer.sh removes it
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  # v2: one hierarchy. A group's children have the controllers that it hands on.
  mkdir -p /sys/fs/cgroup/$group
  for c in $(cat /sys/fs/cgroup/cgroup.controllers); do
    for g in /sys/fs/cgroup /sys/fs/cgroup/$group; do
      echo +$c >$g/cgroup.subtree_control || echo "the control group $g does not hand on $c" >&2
    done
  done
else
  # v1: a hierarchy for each controller. An empty cpuset takes no process.
  for h in /sys/fs/cgroup/*/; do
    mkdir -p $h/$group
    [ ! -e $h/cpuset.cpus ] || for f in cpuset.mems cpuset.cpus; do cat $h/$f >$h/$group/$f; done
  done
fi

# --- network: eth0 is there already (keeper.sh)
ip link set lo up; ip addr add $ip/24 dev eth0; ip link set eth0 up
ip addr add $ip6/64 dev eth0 nodad
for other in $NODES; do
  [ $other != $me ] || continue
  ip route add $(pod_net $other) via $(node_ip $other); ip route add $(pod_net6 $other) via $(node_ip6 $other)
done
# To the wire, where nobody answers: without a route to it, a Service's address is not even tried.
ip route add default via 10.55.0.1; ip route add default via fd00:55::1
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
mkdir -p /run/cni/net.d
if [ $me = node1 ]; then main='"type":"bridge","bridge":"cni0","isGateway":true,"hairpinMode":true'
else main='"type":"ptp"'; fi          # as kind's kindnet does: a route per veth
cat >/run/cni/net.d/10-pods.conflist <<J
{"cniVersion":"0.4.0","name":"pods","plugins":[
 {$main,"ipam":{"type":"host-local","dataDir":"/run/cni/ips","ranges":[[{"subnet":"$(pod_net $me)"}],[{"subnet":"$(pod_net6 $me)"}]],
  "routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
J

# --- containerd
mkdir -p /run/containerd
cat >/run/containerd/config.toml <<J
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/busybox:1"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/run/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
J
# Each part is started again when it ends; its process id is in /run/pids (of this PID namespace),
# so that a test can end exactly that one.
mkdir -p /run/pids
keep() { # NAME COMMAND...
  local n=$1; shift
  (while :; do "$@" >>$log/$n.log 2>&1 & echo $! >/run/pids/$n; wait $! || true; sleep 0.3; done) &
}
rm -f $log/*.log
keep containerd containerd --config /run/containerd/config.toml
until ctr -n k8s.io image import $STATE/image.tar >/dev/null 2>&1; do sleep 0.1; done

# --- control plane
ready() { until curl -sf --cacert $STATE/pki/ca.crt --cert $STATE/pki/admin.crt --key $STATE/pki/admin.key $API/readyz >/dev/null; do sleep 0.2; done; }
if [ $me = node1 ]; then
  cd $STATE/pki
  # What the daemons ask for is written down, to be counted.
  cat >/run/audit.yaml <<J
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- {level: Metadata, userGroups: ["system:serviceaccounts:mtls"]}
- {level: None}
J
  keep etcd etcd --unsafe-no-fsync --data-dir /var/lib/etcd --listen-client-urls http://127.0.0.1:2379 \
    --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
  keep kube-apiserver $KUBE kube-apiserver --etcd-servers=http://127.0.0.1:2379 --advertise-address=$ip --secure-port=6443 \
    --service-cluster-ip-range=$SERVICES --allow-privileged=true --authorization-mode=Node,RBAC \
    --client-ca-file=ca.crt --tls-cert-file=apiserver.crt --tls-private-key-file=apiserver.key \
    --kubelet-client-certificate=apiserver-kubelet.crt --kubelet-client-key=apiserver-kubelet.key \
    --kubelet-certificate-authority=ca.crt --kubelet-preferred-address-types=InternalIP \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=sa.key \
    --service-account-signing-key-file=sa.key --enable-admission-plugins=NodeRestriction \
    --profiling=false --audit-policy-file=/run/audit.yaml --audit-log-path=$log/audit.log
  ready   # the roles of the two below are there only then: the controller manager ends without
  keep kube-controller-manager $KUBE kube-controller-manager --kubeconfig=kube-controller-manager.kubeconfig --leader-elect=false \
    --authentication-kubeconfig=kube-controller-manager.kubeconfig --authorization-kubeconfig=kube-controller-manager.kubeconfig \
    --root-ca-file=ca.crt --service-account-private-key-file=sa.key --use-service-account-credentials=true \
    --node-monitor-grace-period=40s
  keep kube-scheduler $KUBE kube-scheduler --kubeconfig=kube-scheduler.kubeconfig --leader-elect=false \
    --authentication-kubeconfig=kube-scheduler.kubeconfig --authorization-kubeconfig=kube-scheduler.kubeconfig
fi

# --- names of Services: CoreDNS, a process of node1 and no pod
if [ $me = node1 ]; then
  printf '.:53 {\n  errors\n  kubernetes cluster.local {\n    kubeconfig %s\n  }\n}\n' $STATE/pki/admin.kubeconfig >/run/Corefile
  keep coredns $BIN/coredns -conf /run/Corefile
fi

# --- kubelet and kube-proxy
ready
cat >/run/kubelet.yaml <<J
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$group
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0              # to lower it takes CAP_SYS_RESOURCE
maxOpenFiles: 20000         # to raise the limit takes it too
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $STATE/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $STATE/pki/kubelet-$me.crt
tlsPrivateKeyFile: $STATE/pki/kubelet-$me.key
resolvConf: ""
clusterDomain: cluster.local
clusterDNS: [$(node_ip node1)]
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
shutdownGracePeriod: 0s
J
keep kubelet $KUBE kubelet --config=/run/kubelet.yaml --kubeconfig=$STATE/pki/kubelet-$me.kubeconfig --hostname-override=$me \
  --node-ip=$ip,$ip6 --root-dir=/var/lib/kubelet
[ $me = node1 ] && mode=iptables || mode=nftables
cat >/run/kube-proxy.yaml <<J
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: $mode
clientConnection: {kubeconfig: $STATE/pki/kube-proxy.kubeconfig}
hostnameOverride: $me
clusterCIDR: $PODS
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
iptables: {minSyncPeriod: 100ms}
nftables: {minSyncPeriod: 100ms}
J
keep kube-proxy $KUBE kube-proxy --config=/run/kube-proxy.yaml
# Reap whatever is orphaned.
while :; do wait -n 2>/dev/null || sleep 1; done
