#!/usr/bin/env bash
# Runs a command on a kernel that has device-mapper, loop devices and ext4, xfs and btrfs, without
# root, KVM or kernel modules on this machine: a User Mode Linux guest (Debian's user-mode-linux)
# whose root is a copy-on-write view of this machine's.
#
#   tests/vm/run.sh COMMAND [ARGUMENT...]     e.g.  tests/vm/run.sh .venv/bin/pytest -m lvm
#   tests/vm/run.sh                           a shell in the guest
#
# The command starts in the same directory with the same environment, as root; its stdout, stderr
# and exit status come back. What it writes is thrown away, except below the directories in VM_RW.
# 124: the time limit was passed; 125: the guest could not be made, or died.
#
#   VM_MEM=3G        memory of the guest, which bounds its files and disks too
#   VM_RW=a:b        directories of this machine that the guest may write for real
#   VM_UDEV=1        start systemd-udevd in the guest
#   VM_TIMEOUT=3600  seconds after which the guest is ended
#   VM_CACHE=DIR     where the unpacked packages are kept; .cache/vm
#   VM_PACKAGES=...  more Debian packages to unpack for the guest
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
memory=${VM_MEM:-3G}
limit=${VM_TIMEOUT:-3600}
cache=${VM_CACHE:-$(dirname "$(dirname "$here")")/.cache/vm}
layer=$cache/layer # a tree of files that is laid over this machine's root
PATH=$PATH:/usr/sbin:/sbin

say() { echo "==> vm: $*" >&2; }
die() {
    say "$*"
    exit 125
}

# --- packages: fetched and verified by apt, unpacked, never installed

# One line for each program that a test needs: the program, then the packages that bring it.
lacking() {
    local program packages
    while read -r program packages; do
        case $program in
        always) echo "$packages" ;;
        udevadm) [ -z "${VM_UDEV:-}" ] || command -v udevadm >/dev/null || echo "$packages" ;;
        *) command -v "$program" >/dev/null || echo "$packages" ;;
        esac
    done <<'LIST'
always user-mode-linux busybox-static
lvm lvm2 dmsetup libdevmapper1.02.1 libdevmapper-event1.02.1 libaio1 liblvm2cmd2.03 libedit2 libbsd0 libmd0
thin_delta thin-provisioning-tools
cryptsetup cryptsetup-bin libcryptsetup12 libpopt0 libargon2-1 libjson-c5
mkfs.xfs xfsprogs libinih1 liburcu8
mkfs.btrfs btrfs-progs
udevadm udev kmod libkmod2 libudev1
LIST
    echo "${VM_PACKAGES:-}"
}

fetch() {
    local have=$cache/have missing=() name work
    for name in $(lacking); do grep -qsx "$name" "$have" || missing+=("$name"); done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "no apt-get here; unpack ${missing[*]} below $layer"
    work=$(mktemp -d "$cache/get.XXXXXX")
    say "fetching ${missing[*]}"
    download "$work" "${missing[@]}" || {
        rm -rf "$work"
        die "apt-get cannot download ${missing[*]}"
    }
    say "unpacking them below $layer"
    for name in "$work"/*.deb; do dpkg-deb -x "$name" "$work/tree"; done
    for name in bin sbin lib lib64; do # links on a merged root
        [ -d "$work/tree/$name" ] || continue
        mkdir -p "$work/tree/usr/$name"
        cp -a "$work/tree/$name/." "$work/tree/usr/$name/"
        rm -rf "${work:?}/tree/$name"
    done
    mkdir -p "$layer/usr"
    cp -a "$work/tree/." "$layer/"
    printf '%s\n' "${missing[@]}" >>"$have"
    rm -rf "$work"
}

# With this machine's lists of packages, or with new ones of our own: anybody may fetch these.
download() {
    local work=$1 own
    shift
    own=(-o "Dir::State::lists=$cache/lists" -o "Dir::Cache=$cache/apt" -o APT::Sandbox::User=root)
    (cd "$work" && get "$@" -o APT::Sandbox::User=root) 2>/dev/null && return
    say "fetching the lists of packages"
    mkdir -p "$cache/lists/partial" "$cache/apt/archives/partial"
    apt-get -qq "${own[@]}" update >&2 || return
    (cd "$work" && get "$@" "${own[@]}")
}

# Names, then options of apt. Since Debian 13 some libraries have another name, for their 64 bits of time.
get() {
    local names=()
    while [ $# -gt 0 ] && [ "$1" != -o ]; do
        names+=("$1")
        shift
    done
    for name in "${names[@]}"; do
        apt-get -qq "$@" download "$name" >&2 || apt-get -qq "$@" download "${name}t64" >&2 || return
    done
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
fetch
flock -u 9
exec 9>&-
linux=$layer/usr/bin/linux.uml
[ -x "$linux" ] || die "the package user-mode-linux brought no $linux"

# --- one directory for each run, which the guest sees too

run=$(mktemp -d "${TMPDIR:-/tmp}/cellar-vm.XXXXXX")
guest='' watch=''
# shellcheck disable=SC2329 # by the trap below
clean() {
    [ -z "$watch" ] || kill "$watch" 2>/dev/null || true
    if [ -n "$guest" ]; then # it has a session of its own
        kill -KILL -- "-$guest" 2>/dev/null || true
        { wait "$guest" || true; } 2>/dev/null
    fi
    rm -rf "$run"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The guest's memory is a file that is mapped executable. In a container /dev/shm is often both
# too small, which ends in SIGBUS, and noexec.
memory_at=$run
if [ -w /dev/shm ] && ! findmnt -no OPTIONS -T /dev/shm | grep -qw noexec &&
    [ "$(df -k --output=avail /dev/shm | tail -1)" -gt "$(($(numfmt --from=iec "$memory") / 1024))" ]; then
    memory_at=/dev/shm
fi

interactive=
if [ $# -eq 0 ]; then
    set -- "${SHELL:-/bin/bash}"
    [ ! -t 0 ] || interactive=1
fi
{
    export -p
    printf 'cd %q\n' "$PWD"
    printf 'set --'
    printf ' %q' "$@"
    echo
} >"$run/command"
{
    printf 'layer=%q\nshared=%q\nudev=%q\ninteractive=%q\n' \
        "$layer" "${VM_RW:-}" "${VM_UDEV:-}" "$interactive"
} >"$run/settings"
cp "$here/guest.sh" "$run/guest"
for place in "$layer/bin/busybox" "$layer/usr/bin/busybox"; do
    [ ! -x "$place" ] || cp "$place" "$run/busybox"
done
printf '#!%s sh\nrun=%q\n. %q\n' "$run/busybox" "$run" "$here/init.sh" >"$run/init"
chmod +x "$run/init"

# --- the guest: con0 has the kernel's messages, con1 the command's stdin and stdout, con2 stderr

# shellcheck disable=SC2054 # commas are the kernel's
words=("$linux" "mem=$memory" "uml_dir=$run/uml" umid=vm
    root=/dev/root rootfstype=hostfs rootflags=/ ro "init=$run/init"
    quiet loglevel=3 panic=-1 con=null con0=null,fd:2)
late=
if [ -n "$interactive" ]; then
    TMPDIR=$memory_at "${words[@]}" con1=fd:0,fd:1 con2=null,fd:1 2>"$run/kernel.log" || true
else
    mkfifo "$run/out" "$run/err" # its consoles cannot poll a regular file
    cat "$run/out" &
    carriers=($!)
    cat "$run/err" >&2 &
    carriers+=($!)
    TMPDIR=$memory_at setpriv --pdeathsig KILL setsid "${words[@]}" con1=null,fd:3 con2=null,fd:4 \
        </dev/null 2>"$run/kernel.log" 3>"$run/out" 4>"$run/err" &
    guest=$!
    sleep "$limit" &
    watch=$!
    wait -n "$guest" "$watch" 2>/dev/null || true
    kill -0 "$watch" 2>/dev/null || late=1
    kill "$watch" 2>/dev/null || true
    kill -KILL -- "-$guest" 2>/dev/null || true
    { wait "$guest" || true; } 2>/dev/null
    wait "${carriers[@]}"
fi
if [ -n "$late" ]; then
    say "ended after $limit s"
    exit 124
fi
if [ ! -s "$run/status" ]; then
    tail -n 40 "$run/kernel.log" >&2 || true
    die "the guest ended without a status; above are its last messages"
fi
exit "$(cat "$run/status")"
