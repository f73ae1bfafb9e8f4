#!/bin/bash
# A CA, and a certificate and kubeconfig for everyone. ECDSA: quick to make.
set -eu; . "$SCRIPTS/env.sh"; mkdir -p "$STATE/pki"; cd "$STATE/pki"
key() { openssl ecparam -genkey -name prime256v1 -noout -out $1.key 2>/dev/null; }
key ca; openssl req -x509 -new -key ca.key -subj /CN=kubernetes -days 3650 -out ca.crt
cert() { # NAME SUBJECT [SAN]
  key $1
  openssl req -new -key $1.key -subj "$2" -out $1.csr
  printf 'keyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=clientAuth,serverAuth\n%s\n' "${3:+subjectAltName=$3}" >$1.ext
  openssl x509 -req -in $1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile $1.ext -out $1.crt 2>/dev/null
}
config() { # NAME
cat >$1.kubeconfig <<J
{"apiVersion":"v1","kind":"Config","current-context":"c",
 "clusters":[{"name":"c","cluster":{"server":"$API","certificate-authority":"$STATE/pki/ca.crt"}}],
 "users":[{"name":"u","user":{"client-certificate":"$STATE/pki/$1.crt","client-key":"$STATE/pki/$1.key"}}],
 "contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}]}
J
}
cert apiserver /CN=kube-apiserver "IP:127.0.0.1,IP:$(node_ip node1),IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
cert admin      /O=system:masters/CN=admin
cert apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client
cert kube-controller-manager /CN=system:kube-controller-manager
cert kube-scheduler /CN=system:kube-scheduler
cert kube-proxy /CN=system:kube-proxy
cert kubelet-node1 /O=system:nodes/CN=system:node:node1 "IP:$(node_ip node1),DNS:node1"
cert kubelet-node2 /O=system:nodes/CN=system:node:node2 "IP:$(node_ip node2),DNS:node2"
openssl genrsa -out sa.key 2048 2>/dev/null
for c in admin kube-controller-manager kube-scheduler kube-proxy kubelet-node1 kubelet-node2; do config $c; done
