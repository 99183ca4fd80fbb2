# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Keys, users and the control plane. Sourced by up.sh after lib.sh.
PKI=$RUN/pki

# user FILE NAME GROUP: a token, and a kubeconfig that carries it.
user() {
    local token
    token=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
    echo "$token,$2,$2,\"$3\"" >>"$PKI/tokens.csv"
    cat >"$RUN/$1.kubeconfig" <<END
apiVersion: v1
kind: Config
current-context: cluster
clusters:
- name: cluster
  cluster: {server: "$API", certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")}
users: [{name: $1, user: {token: $token}}]
contexts: [{name: cluster, context: {cluster: cluster, user: $1}}]
END
}

certificates() {
    local names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc
    names+=,DNS:kubernetes.default.svc.cluster.local,DNS:localhost
    names+=,IP:$KUBERNETES4,IP:$KUBERNETES6,IP:$CP4,IP:$CP6,IP:127.0.0.1
    cd "$PKI" || return
    openssl genrsa -out sa.key 2048
    openssl rsa -in sa.key -pubout -out sa.pub
    openssl req -x509 -newkey rsa:2048 -nodes -days 365 -keyout ca.key -out ca.crt -subj /CN=ferrule-cluster
    openssl req -newkey rsa:2048 -nodes -keyout api.key -out api.csr -subj /CN=kube-apiserver
    printf 'subjectAltName=%s\n' "$names" >api.ext
    openssl x509 -req -in api.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 \
        -extfile api.ext -out api.crt
}

# Made once for the life of a cluster. A Service proxy runs as system:kube-proxy, who may do
# what upstream's role system:node-proxier says (manifests/proxy.yaml) and no more.
keys() {
    local i
    if [ -e "$PKI/done" ]; then return 0; fi
    say "keys"
    mkdir -p "$PKI"
    (umask 077 && certificates) >"$LOG/keys.log" 2>&1 || die "openssl failed, see $LOG/keys.log"
    : >"$PKI/tokens.csv"
    user admin admin system:masters
    user kcm system:kube-controller-manager system:authenticated
    user scheduler system:kube-scheduler system:authenticated
    user proxy system:kube-proxy system:authenticated
    for i in $(seq "$MAX_NODES"); do user "node$i" "system:node:node$i" system:nodes; done
    touch "$PKI/done"
}

start_etcd() {
    daemon cp etcd etcd --data-dir "$RUN/cp/etcd" --unsafe-no-fsync \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380 \
        --initial-advertise-peer-urls http://127.0.0.1:2380 \
        --initial-cluster default=http://127.0.0.1:2380 --quota-backend-bytes 4000000000
}

start_apiserver() {
    daemon cp apiserver "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
        --bind-address=:: --secure-port=6443 --advertise-address="$CP4" \
        --external-hostname="$CP4" --service-cluster-ip-range="$SERVICES4,$SERVICES6" \
        --allow-privileged=true --authorization-mode=Node,RBAC \
        --enable-admission-plugins=NodeRestriction \
        --token-auth-file="$PKI/tokens.csv" --client-ca-file="$PKI/ca.crt" \
        --tls-cert-file="$PKI/api.crt" --tls-private-key-file="$PKI/api.key" \
        --service-account-issuer=https://kubernetes.default.svc.cluster.local \
        --service-account-key-file="$PKI/sa.pub" --service-account-signing-key-file="$PKI/sa.key" \
        --kubelet-preferred-address-types=InternalIP --cert-dir="$RUN/cp/certs"
    wait_for 120 "the API server" "$LOG/cp-apiserver.log" kube get --raw /readyz
}

# Pod ranges are written to the Nodes by up.sh, so that node N has the routes of node N.
start_controllers() {
    daemon cp kcm "$BIN/kube-controller-manager" --kubeconfig="$RUN/kcm.kubeconfig" \
        --use-service-account-credentials --leader-elect=false --cert-dir="$RUN/cp/certs-kcm" \
        --service-account-private-key-file="$PKI/sa.key" --root-ca-file="$PKI/ca.crt" \
        --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
        --service-cluster-ip-range="$SERVICES4,$SERVICES6" --cluster-cidr="$PODS4,$PODS6" \
        --allocate-node-cidrs=false
    daemon cp scheduler "$BIN/kube-scheduler" --kubeconfig="$RUN/scheduler.kubeconfig" \
        --leader-elect=false --cert-dir="$RUN/cp/certs-scheduler"
    # On the outside, because it routes what comes from there.
    daemon client lb "$BIN/lb" -kubeconfig="$RUN/admin.kubeconfig" -pool4="$LB4" -pool6="$LB6"
}

control_plane() {
    say "control plane"
    start_etcd
    start_apiserver
    start_controllers
}
