# shellcheck shell=dash
# The guest's first process once its root is there: loads modules, runs the command, brings back its
# output and status.
cd /
box=/run/vm/busybox
# shellcheck source=/dev/null
. /run/vm/settings
"$box" umount -l /.old
"$box" rmdir /.old
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
[ -e /sbin/modprobe ] || "$box" cp "$box" /sbin/modprobe
"$box" mount --make-rshared /
"$box" hostname vm
"$box" ifconfig lo 127.0.0.1 up
for module in loop dm-mod dm-snapshot dm-mirror dm-raid dm-thin-pool dm-crypt dm-delay; do
    modprobe "$module"
done
# Nothing is swapped here: what lvm reserves against it costs half of a snapshot's time.
mkdir -p /etc/lvm
echo 'activation { reserved_memory=0 reserved_stack=0 }' >/etc/lvm/lvmlocal.conf
for tty in tty1 tty2; do "$box" stty -F "/dev/$tty" raw -echo 2>/dev/null; done
if [ -n "${udev?}" ]; then
    for daemon in /usr/lib/systemd/systemd-udevd /lib/systemd/systemd-udevd; do
        [ ! -x "$daemon" ] || {
            "$daemon" --daemon
            break
        }
    done
    udevadm trigger --action=add --subsystem-match=block
    udevadm settle
fi

start='. /run/vm/command 2>/dev/null; exec "$@"'
if [ -n "${interactive?}" ]; then
    "$box" stty -F /dev/tty1 sane
    "$box" setsid -c bash -c "$start" </dev/tty1 >/dev/tty1 2>&1
    status=$?
else
    "$box" mkfifo /run/out /run/err # pipes: nothing should take the consoles for a terminal
    "$box" cat /run/out >/dev/tty1 &
    out=$!
    "$box" cat /run/err >/dev/tty2 &
    err=$!
    bash -c "$start" </dev/null >/run/out 2>/run/err
    status=$?
    for process in /proc/[0-9]*; do # what it left running must not hold the pipes
        process=${process#/proc/}
        case $process in 1 | "$out" | "$err") continue ;; esac
        "$box" readlink "/proc/$process/exe" >/dev/null && kill -9 "$process" 2>/dev/null
    done
    wait "$out" "$err"
fi
echo "$status" >/run/vm/status.new
"$box" mv /run/vm/status.new /run/vm/status
for tty in tty1 tty2; do "$box" stty -F "/dev/$tty" raw; done # returns when all is written
"$box" sync
"$box" poweroff -f
