# shellcheck shell=dash
# The guest's first process, in busybox's shell on the host's root: builds the guest's own root, a
# tmpfs over the unpacked packages over the host's. `run` is the directory of this run.
box=${run:?}/busybox
# shellcheck source=/dev/null
. "$run/settings"

fail() {
    echo "==> vm: $*" >/dev/tty2
    "$box" poweroff -f
}

"$box" mount -t proc proc /proc
"$box" mount -t tmpfs -o size=75% tmpfs /mnt
"$box" mkdir /mnt/up /mnt/work /mnt/root /mnt/layer
# A mount of its own: the layers of an overlay must not lie inside each other.
"$box" mount -t hostfs -o "${layer:?}" none /mnt/layer
release=$("$box" uname -r)
modules=$layer/usr/lib/uml/modules/$release
"$box" insmod "$modules/kernel/fs/overlayfs/overlay.ko" || fail "there is no overlayfs"
"$box" mount -t overlay -o lowerdir=/mnt/layer:/,upperdir=/mnt/up,workdir=/mnt/work root /mnt/root ||
    fail "the root could not be built"
cd /mnt/root || fail "the root is not there"
"$box" mount -t proc proc proc
"$box" mount -t sysfs sysfs sys
"$box" mount -t cgroup2 cgroup2 sys/fs/cgroup
"$box" mount -t devtmpfs dev dev
"$box" mkdir -p dev/pts dev/shm "lib/modules/$release" run
"$box" mount -t devpts devpts dev/pts
for place in dev/shm run; do "$box" mount -t tmpfs tmpfs "$place"; done
"$box" mkdir -p run/lock run/vm
"$box" mount -t hostfs -o "$run" none run/vm # the way back
"$box" mount --bind "$modules" "lib/modules/$release"
IFS=:
for place in ${shared?}; do
    "$box" mkdir -p ".$place"
    "$box" mount -t hostfs -o "$place" none ".$place" || fail "$place cannot be shared"
done
unset IFS
"$box" mkdir -p .old
"$box" pivot_root . .old && exec "$box" chroot . /run/vm/busybox sh /run/vm/guest
fail "the root could not be entered"
