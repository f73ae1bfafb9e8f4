# The addresses of the cluster, for the other scripts, which source this. Who starts them sets:
#   STATE    certificates, kubeconfigs, images, logs: the same for both nodes
#   BIN      kube, coredns
#   ID       tells this cluster's control groups from another's on the same machine
#   SCRIPTS  where this is
: "${STATE:?}" "${BIN:?}" "${ID:?}" "${SCRIPTS:?}"
NODES="node1 node2"
SERVICES=10.96.0.0/16,fd00:96::/112
PODS=10.244.0.0/16,fd00:244::/48
# node1 is the control plane too. The number in a node's name is in its addresses.
node_ip()  { echo "10.55.0.1${1#node}"; }
node_ip6() { echo "fd00:55::1${1#node}"; }
pod_net()  { echo "10.244.${1#node}.0/24"; }
pod_net6() { echo "fd00:244:0:${1#node}::/64"; }
API=https://$(node_ip node1):6443
cgroup()   { echo "k8s-$ID-$1"; }
