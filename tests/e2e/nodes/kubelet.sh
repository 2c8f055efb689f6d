#!/bin/bash
# kubelet.sh stop | start | restart: what systemctl would do to kubelet on node $NODE_NR.
set -eu
cd "$(dirname "$0")"; . ./env.sh
stop() {
  mkdir -p "$NODE_RUN/stopped"; touch "$NODE_RUN/stopped/kubelet"
  for p in $(pgrep -x kubelet); do kill "$p"; done
  for _ in $(seq 100); do pgrep -x kubelet > /dev/null || return 0; sleep 0.1; done
  return 1
}
case $1 in
stop) stop ;;
start) rm -f "$NODE_RUN/stopped/kubelet" ;;
restart) stop; rm -f "$NODE_RUN/stopped/kubelet" ;;
esac
