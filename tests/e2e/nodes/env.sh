# Names, paths and addresses that the scripts here share. To be sourced; NODE_NR: which node is meant.
# shellcheck disable=SC2034
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)/.cache/e2e
BIN=$TOOLS/bin                  # Kubernetes, sidecars, helm: built from Go modules
OLDER=$TOOLS/bin-${K8S:-none}    # with K8S=1.36 the components of that Kubernetes, which come first
ROOT=$TOOLS/root                # Debian packages, unpacked and never installed
RUN=${CELLAR_E2E:-/tmp/cellar-e2e} # the running cluster; "cluster.sh wipe" removes it
SVC_CIDR=10.97.0.0/24
API_IP=10.99.0.1                # node 1 carries the control plane
API_PORT=443                    # as the Service `kubernetes` has it: nothing translates ports here
NODE_NR=${NODE_NR:-1}
NODE=node-$NODE_NR
NODE_IP=10.99.0.$NODE_NR
POD_CIDR=10.98.$((NODE_NR - 1)).0/24
NODE_RUN=$RUN/$NODE             # what this node has on disk
NODE_LOG=$RUN/log/$NODE
POOL_SIZE=${POOL_SIZE:-6G}      # of the disk image that carries the node's pool; sparse
POOL=/var/lib/cellar/pools/fast # where it is mounted, in the node
export PATH=$OLDER:$BIN:$ROOT/usr/bin:$ROOT/usr/sbin:$ROOT/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LD_LIBRARY_PATH=$ROOT/usr/lib/x86_64-linux-gnu
export KUBECONFIG=$RUN/pki/admin.kubeconfig
export HOME=$RUN                # kubectl and helm keep caches there
