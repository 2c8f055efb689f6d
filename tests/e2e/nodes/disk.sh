#!/bin/bash
# Mounts the disk of node $NODE_NR's pool; at every later start of the node too, as fstab would.
set -eu
cd "$(dirname "$0")"; . ./env.sh
mkdir -p "$POOL"
touch "$NODE_RUN/fstab"
mountpoint -q "$POOL" || mount -o loop "$NODE_RUN/pool.img" "$POOL"
