#!/bin/bash
# cluster.sh up | down | wipe | status      NODES=2 cluster.sh up: two nodes
# cluster.sh exec CMD... | exec@2 CMD...    run a command on node 1 | on node 2
# cluster.sh start-node 2 | stop-node 2     stop-node cuts the power; what the node has on disk is kept
# cluster.sh disconnect 2 | connect 2       take a node off the network, and back
# cluster.sh import IMAGE.tar...            into containerd of every running node
# Each node has mount, network, pid, uts, ipc and cgroup namespaces of its own. Nothing outside $RUN and
# the cgroups made here is touched; with pid 1 of its pid namespace everything on a node ends.
set -euo pipefail
cd "$(dirname "$0")"; . ./env.sh
HERE=$PWD

pid() { cat "$RUN/node-$1/pid"; } # a node's pid 1, as seen from the machine
alive() { [ -s "$RUN/node-$1/pid" ] && tr '\0' ' ' 2>/dev/null < "/proc/$(pid "$1")/cmdline" | grep -q "/nodes/node.sh $1 $"; } # of any checkout
nodes() { for d in "$RUN"/node-*; do [ -d "$d" ] && echo "${d##*/node-}"; done | sort -n; }
running() { for i in $(nodes); do if alive "$i"; then echo "$i"; fi; done; }
retry() { for _ in $(seq 300); do "$@" && return 0; sleep 0.1; done; return 1; }

make_cgroups() { # a child in each hierarchy, below the cgroup that this shell is in
  : > "$NODE_RUN/cgroups"; echo v1 > "$NODE_RUN/cgroup.mode"
  while IFS=: read -r _ ctl path; do
    dir=/sys/fs/cgroup/${ctl#name=}
    if [ -z "$ctl" ]; then dir=/sys/fs/cgroup/unified; [ -d "$dir" ] || dir=/sys/fs/cgroup; fi
    [ -d "$dir" ] || continue
    if [ "$dir" = /sys/fs/cgroup ]; then # a machine with cgroup v2 alone: a child of the root, with controllers
      for k in cpu cpuset memory pids io hugetlb; do echo +$k > "$dir/cgroup.subtree_control" 2>/dev/null || true; done
      path=/; echo v2 > "$NODE_RUN/cgroup.mode"
    fi
    cg=$dir${path%/}/cellar-e2e-$NODE_NR; mkdir -p "$cg"
    if [ "$ctl" = cpuset ]; then # empty in a new child, and nobody may enter before it is filled
      cat "$dir${path%/}/cpuset.cpus" > "$cg/cpuset.cpus"; cat "$dir${path%/}/cpuset.mems" > "$cg/cpuset.mems"
      echo 1 > "$cg/cgroup.clone_children"
    fi
    echo "$cg" >> "$NODE_RUN/cgroups"
  done < /proc/self/cgroup
}

remove_cgroups() { # those of $NODE_NR; true when none is left
  left=0
  while read -r cg; do
    [ ! -d "$cg" ] || find "$cg" -depth -type d -exec rmdir {} + 2>/dev/null || true
    [ ! -d "$cg" ] || left=1
  done < "$NODE_RUN/cgroups"
  return $left
}

# Loop devices are the whole machine's: free those that $NODE_NR left. Paths mean nothing once its mounts are
# gone, so a disk is known by device and inode of its image, a volume by the disk that carries it.
free_loops() {
  [ -e "$NODE_RUN/pool.img" ] || return 0
  for disk in $(loops_on '*' "$(stat -c '%Hd:%Ld %i' "$NODE_RUN/pool.img")"); do
    for volume in $(loops_on "$(stat -c %Hr:%Lr "$disk")" '*'); do free_volume "$volume"; done
    losetup -d "$disk" 2>/dev/null || true # mounted with autoclear: mostly gone by itself
  done
}

free_volume() { # and what kubelet put on it: a loop device of its own for each raw block volume
  for over in $(loops_on '*' "$(stat -c '%Hd:%Ld %i' "$1")"); do losetup -d "$over"; done
  losetup -d "$1"
}

loops_on() { # MAJ:MIN of the filesystem below | '*', and "MAJ:MIN INODE" of the file below | '*'
  losetup -nl --raw -O NAME,BACK-MAJ:MIN,BACK-INO | sed 's/\\x20/ /g' | while read -r dev on ino; do
    [ "$1" = '*' ] || [ "$on" = "$1" ] || continue
    [ "$2" = '*' ] || [ "$on $ino" = "$2" ] || continue
    echo "$dev"
  done
}

connect() { # a veth pair between node 1 and $NODE_NR; node 1 forwards between the others
  on1="nsenter -t $(pid 1) --net ip"; onN="nsenter -t $(pid "$NODE_NR") --net ip"
  $on1 link del "node$NODE_NR" 2>/dev/null || true # it vanishes with a killed node, but not at once
  $onN link del eth0 2>/dev/null || true
  $on1 link add "node$NODE_NR" type veth peer name eth0 netns "$(pid "$NODE_NR")"
  $on1 link set "node$NODE_NR" up
  $on1 route add "$NODE_IP" dev "node$NODE_NR" src "$API_IP"
  $on1 route add "$POD_CIDR" via "$NODE_IP" src "$API_IP"
  $onN link set eth0 up
  $onN route add "$API_IP" dev eth0 src "$NODE_IP"
  $onN route add default via "$API_IP" src "$NODE_IP" # the Service address, other nodes, their pods
}

start_node() ( # N: returns as soon as the node has its network
  alive "$1" && exit 0
  export NODE_NR=$1; . ./env.sh
  mkdir -p "$NODE_RUN" "$NODE_LOG"
  clean_node
  bash ./pki.sh
  make_cgroups
  [ -s "$NODE_RUN/pool.img" ] || { truncate -s "$POOL_SIZE" "$NODE_RUN/pool.img"; mkfs.xfs -q "$NODE_RUN/pool.img"; }
  : > "$NODE_LOG/node.log"
  ( while read -r cg; do echo $BASHPID > "$cg/cgroup.procs"; done < "$NODE_RUN/cgroups"
    exec setsid nohup unshare --mount --net --uts --ipc --cgroup --pid --fork --propagation private \
      bash "$HERE/node.sh" "$NODE_NR" ) > "$NODE_LOG/node.log" 2>&1 < /dev/null &
  retry alive "$NODE_NR" || { cat "$NODE_LOG/node.log"; exit 1; }
  if [ "$NODE_NR" != 1 ]; then
    if alive 1; then connect; fi
  else # the control plane was away: give the others their link again
    for i in $(running); do [ "$i" = 1 ] || ( NODE_NR=$i; . ./env.sh; connect ); done
  fi
)

wait_node() { # N
  log=$RUN/log/node-$1/node.log
  until grep -q '^READY\|^FAIL' "$log"; do
    alive "$1" || { echo "FAIL node $1 ended"; return 1; }; sleep 0.2
  done
  echo "node $1: $(tail -1 "$log")"; grep -q ^READY "$log"
}

clean_node() { # of $NODE_NR, which is down
  rm -f "$NODE_RUN/pid"
  free_loops
  if [ -f "$NODE_RUN/cgroups" ]; then
    retry remove_cgroups || echo "node $NODE_NR: cgroups left" >&2
  fi
}

stop_node() ( # N
  NODE_NR=$1; . ./env.sh
  if alive "$1"; then
    p=$(pid "$1"); kill -9 "$p"
    gone() { [ ! -d "/proc/$p" ]; }; retry gone # pid 1 is the last process of its namespace to go,
    sleep 0.3 # but an nsenter of "exec", which is outside, holds the mounts a moment longer
  fi
  clean_node
)

case ${1:-} in
up)
  for i in $(seq "${NODES:-1}"); do start_node "$i"; done
  for i in $(seq "${NODES:-1}"); do wait_node "$i"; done ;;
start-node) start_node "$2"; wait_node "$2" ;;
stop-node) stop_node "$2" ;;
connect) NODE_NR=$2; . ./env.sh; connect ;;
disconnect) nsenter -t "$(pid 1)" --net ip link del "node$2" ;;
exec|exec@*)
  i=${1#exec}; i=${i#@}; export NODE_NR=${i:-1}; shift
  exec nsenter -t "$(pid "$NODE_NR")" --mount --net --uts --ipc --cgroup --pid --wd="$PWD" -- "$@" ;;
import)
  shift; jobs=()
  for i in $(running); do
    { for f; do
        "$HERE/cluster.sh" "exec@$i" ctr -a /run/containerd/containerd.sock -n k8s.io images import "$f" | sed "s/^/node $i: /" || exit 1
      done; } & jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job"; done ;;
status) for i in $(nodes); do if alive "$i"; then echo "node $i up, pid $(pid "$i")"; else echo "node $i down"; fi; done ;;
down) for i in $(nodes); do stop_node "$i"; done ;;
wipe) "$HERE/cluster.sh" down; rm -rf "$RUN" ;;
*) sed -n 2,7p "$0"; exit 2 ;;
esac
