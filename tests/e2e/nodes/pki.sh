#!/bin/bash
# Makes what is missing in $RUN/pki: once a CA, the control plane's certificates, static tokens and kubeconfigs;
# then certificate and kubeconfig of the kubelet of node $NODE_NR.
set -eu
cd "$(dirname "$0")"; . ./env.sh
P=$RUN/pki; mkdir -p "$P"; cd "$P"
unset LD_LIBRARY_PATH
cert() { # name subject san
  openssl ecparam -genkey -name prime256v1 -noout -out "$1.key"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr" 2>/dev/null
  printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$3" > "$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 \
     -extfile "$1.ext" -out "$1.crt" 2>/dev/null
}
kubeconfig() { # name credentials
  cat > "$1.kubeconfig" <<K
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "https://$API_IP:$API_PORT", certificate-authority: $P/ca.crt}}]
users: [{name: u, user: {$2}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
K
}
user() { # name user groups
  t=$(openssl rand -hex 16)
  echo "$t,$2,$2,\"$3\"" >> tokens.csv
  kubeconfig "$1" "token: $t"
}
if [ ! -s admin.kubeconfig ]; then
  openssl ecparam -genkey -name prime256v1 -noout -out ca.key
  openssl req -x509 -new -key ca.key -subj /CN=cellar-e2e -days 3650 -out ca.crt 2>/dev/null
  cert apiserver /CN=kube-apiserver "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$API_IP,IP:${SVC_CIDR%.*}.1"
  cert apiserver-kubelet-client /O=system:masters/CN=apiserver-kubelet-client DNS:apiserver
  openssl genrsa -out sa.key 2048 2>/dev/null; openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
  : > tokens.csv
  user kcm system:kube-controller-manager ""
  user scheduler system:kube-scheduler ""
  user admin admin system:masters
fi
# A kubelet has a certificate, not a token: the apiserver reads tokens only when it starts, nodes may come later.
if [ ! -s "$NODE.kubeconfig" ]; then
  cert "$NODE" "/O=system:nodes/CN=system:node:$NODE" "DNS:$NODE,IP:$NODE_IP,IP:127.0.0.1"
  kubeconfig "$NODE" "client-certificate: $P/$NODE.crt, client-key: $P/$NODE.key"
fi
chmod 600 ./*.key tokens.csv ./*.kubeconfig
