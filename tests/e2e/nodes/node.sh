#!/bin/bash
# pid 1 of a node's namespaces: private mounts, network, then every component. Argument: the node's number.
read -r pid _ < /proc/self/stat # as the machine sees it, while its /proc is still in place
cd "$(dirname "$0")" || exit 1; export NODE_NR=$1; . ./env.sh
fail() { echo "FAIL $* (logs: $NODE_LOG)"; exit 1; }
# --- mounts: own proc, sys, cgroups; shared propagation, which kubelet needs, but inside only
mount --make-rprivate /
mount -t proc proc /proc
mount -t sysfs sysfs /sys || fail sysfs
if [ "$(cat "$NODE_RUN/cgroup.mode")" = v2 ]; then
  # pid 1 leaves the root of the namespace, so that this may have children with controllers
  mount -t cgroup2 cgroup2 /sys/fs/cgroup || fail cgroup2
  mkdir -p /sys/fs/cgroup/init; echo $$ > /sys/fs/cgroup/init/cgroup.procs
  for k in cpu cpuset memory pids io hugetlb; do echo +$k > /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null; done
else
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  while read -r cg; do
    rel=${cg#/sys/fs/cgroup/}; h=${rel%%/*}; mkdir -p "/sys/fs/cgroup/$h"
    case $h in
      unified) mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified ;;
      systemd) mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd ;;
      *) mount -t cgroup -o "$h" cgroup "/sys/fs/cgroup/$h" || fail "cgroup $h" ;;
    esac
  done < "$NODE_RUN/cgroups"
fi
# what is written into these folders stays in $NODE_RUN
for d in var/lib var/log etc usr/local; do
  k=${d//\//-}; mkdir -p "$NODE_RUN/ov/$k/up" "$NODE_RUN/ov/$k/work"
  mount -t overlay -o "lowerdir=/$d,upperdir=$NODE_RUN/ov/$k/up,workdir=$NODE_RUN/ov/$k/work" overlay "/$d" || fail "overlay /$d"
done
# a node that is new has nothing of what the machine has there (a whiteout in its overlay; the machine keeps it)
[ -e "$NODE_RUN/ov/new" ] || { rm -rf /var/lib/{cellar,kubelet,containerd,cni,etcd} /etc/{cellar,cni,kubernetes}; : > "$NODE_RUN/ov/new"; }
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /var/lib/kubelet "$NODE_RUN/kubelet" "$NODE_RUN/pods-log" /var/log/pods /var/log/containers /run/lock
mount --bind "$NODE_RUN/kubelet" /var/lib/kubelet
mount --bind "$NODE_RUN/pods-log" /var/log/pods
# Kubelet wants to write some of the kernel's sysctls and is content when they read as it wants them: plain
# files stand in for them. And each start has a boot id of its own, so that a node that comes back looks rebooted.
mkdir -p "$NODE_RUN/sysctl"; boot_id=$(cat /proc/sys/kernel/random/uuid)
for kv in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
          kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000 kernel/random/boot_id="$boot_id"; do
  f=$NODE_RUN/sysctl/$(basename "${kv%=*}"); echo "${kv#*=}" > "$f"
  [ -e "/proc/sys/${kv%=*}" ] && mount --bind "$f" "/proc/sys/${kv%=*}"
done
mount --make-rshared /
# a disk that was mounted once is in the node's fstab, so to say
[ ! -e "$NODE_RUN/fstab" ] || bash ./disk.sh || fail "the pool's disk"
# --- network: the node's address is on lo, where it stays whatever happens to the link to other nodes
hostname "$NODE"
ip link set lo up
ip addr add "$NODE_IP/32" dev lo
# the Service address of the API is on node 1's lo, where the apiserver listens: no kube-proxy is needed
[ "$NODE_NR" != 1 ] || ip addr add "${SVC_CIDR%.*}.1/32" dev lo
echo 1 > /proc/sys/net/ipv4/ip_forward
printf '127.0.0.1 localhost\n%s %s\n' "$NODE_IP" "$NODE" > /etc/hosts
printf 'nameserver 127.0.0.1\n' > "$NODE_RUN/resolv.conf"; rm -f /etc/resolv.conf; cp "$NODE_RUN/resolv.conf" /etc/resolv.conf
echo "$pid" > "$NODE_RUN/pid" # from here on "cluster.sh exec" works
run() { # name command...: again and again, unless systemctl.sh stopped it
  n=$1; shift
  ( while :; do while [ -e "$NODE_RUN/stopped/$n" ]; do sleep 0.3; done; "$@"
    echo "--- $n ended with $? at $(date +%T), again in 2 s"; sleep 2; done ) >> "$NODE_LOG/$n.log" 2>&1 &
  echo "$(date +%T) started $n"
}
wait_for() { for _ in $(seq 600); do "$@" > /dev/null 2>&1 && return 0; sleep 0.2; done; fail "waiting for: $*"; }
P=$RUN/pki
control_plane() {
  run etcd etcd --name e2e --data-dir "$NODE_RUN/etcd" --listen-client-urls http://127.0.0.1:2379 \
    --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 \
    --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster e2e=http://127.0.0.1:2380 \
    --unsafe-no-fsync --log-level warn
  run apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --secure-port=$API_PORT \
    --bind-address=0.0.0.0 --advertise-address=$API_IP --service-cluster-ip-range=$SVC_CIDR \
    --tls-cert-file="$P/apiserver.crt" --tls-private-key-file="$P/apiserver.key" --client-ca-file="$P/ca.crt" \
    --token-auth-file="$P/tokens.csv" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --service-account-key-file="$P/sa.pub" --service-account-signing-key-file="$P/sa.key" \
    --service-account-issuer=https://kubernetes.default.svc \
    --kubelet-client-certificate="$P/apiserver-kubelet-client.crt" --kubelet-client-key="$P/apiserver-kubelet-client.key" \
    --kubelet-preferred-address-types=InternalIP --allow-privileged=true --v=1 \
    --audit-policy-file="$PWD/audit.yaml" --audit-log-path="$NODE_LOG/audit.log"
  wait_for kubectl get --raw /readyz
  # a dead node is noticed sooner than the usual 50 s; its lease is renewed every 10 s
  run kcm kube-controller-manager --kubeconfig="$P/kcm.kubeconfig" --authentication-kubeconfig="$P/kcm.kubeconfig" \
    --authorization-kubeconfig="$P/kcm.kubeconfig" --use-service-account-credentials \
    --service-account-private-key-file="$P/sa.key" --root-ca-file="$P/ca.crt" --leader-elect=false \
    --allocate-node-cidrs=false --bind-address=127.0.0.1 --node-monitor-grace-period=15s --v=1
  run scheduler kube-scheduler --kubeconfig="$P/scheduler.kubeconfig" --authentication-kubeconfig="$P/scheduler.kubeconfig" \
    --authorization-kubeconfig="$P/scheduler.kubeconfig" --leader-elect=false --bind-address=127.0.0.1 --v=1
}
[ "$NODE_NR" != 1 ] || control_plane
bash ./config.sh
run containerd containerd --config "$NODE_RUN/containerd.toml"
wait_for ctr -a /run/containerd/containerd.sock version
wait_for kubectl get --raw /readyz
run kubelet kubelet --config="$NODE_RUN/kubelet.yaml" --kubeconfig="$P/$NODE.kubeconfig" --root-dir=/var/lib/kubelet \
  --hostname-override="$NODE" --node-ip="$NODE_IP" --v=2
# the boot id tells this start's status from the one before a reboot
ready() { kubectl get node "$NODE" -o jsonpath='{.status.nodeInfo.bootID} {.status.conditions[?(@.type=="Ready")].status}' | grep "$boot_id True"; }
wait_for ready
wait_for kubectl get serviceaccount default # no pod is accepted before
echo READY
while :; do wait -n 2>/dev/null || sleep 5; done
