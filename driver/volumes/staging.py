"""Putting a volume's own device where it can be used, and taking it off again.

Nothing is formatted here, and what a place shows is compared with the device, never assumed.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from driver.core import mount_options
from driver.core.errors import Conflict, NotFound, Refused, Unusable
from driver.core.failpoints import reach
from driver.core.ids import VolumeId
from driver.core.model import Device, FsType, Place, Volume
from driver.core.ports import Host, Pool
from driver.volumes import devices, growth, sealing
from driver.volumes.fitting import reads_only
from driver.volumes.intents import Capability, Stage


def put(pool: Pool, volume: Volume, wanted: Stage) -> Device:
    """Attached and, unless it is a raw block volume, mounted; what this call did, or nothing."""
    with ExitStack() as undo:
        if volume.key is not None:
            volume = sealing.made(pool, volume, sealing.required(volume, wanted.secret))
        if volume.fs is None:
            read_only, secret = reads_only(volume, wanted.capability), wanted.secret
            device = devices.raised(pool, volume, read_only=read_only, undo=undo, secret=secret)
            reach("stage.attached")
        else:
            device = _put_filesystem(pool, volume, volume.fs, wanted, undo)
        undo.pop_all()
    return device


def take_off(host: Host, target: Path, device: Device | None, volume_id: VolumeId) -> bool:
    """True if something was there. Refused, and nothing touched, if it is not the volume's.

    A filesystem that is frozen would stay so, and out of reach, when its last mount is gone.
    """
    if (place := host.shown_at(target)) is None:
        return False
    if not devices.belongs(host, place, device, volume_id):
        raise Refused(f"{target} shows something else than volume {volume_id}; left as it is")
    if not place.node and _is_last(host, place):
        host.thaw(target)
    host.unmount(target)
    return True


def shown(pool: Pool, volume: Volume, path: Path) -> Device:
    """The device that the path shows. NotFound: nothing is there, or something else."""
    device, place = devices.of(pool, volume), pool.host.shown_at(path)
    if device and place and place.number == device.number:
        return device
    raise NotFound(f"volume {volume.id} is not at {path}")


def refuse_other_access(place: Place, *, read_only: bool) -> None:
    if place.read_only is not read_only:
        is_so = "read-only" if place.read_only else "writable"
        raise Conflict(f"{place.target} shows the volume already, and is {is_so}")


def writable(pool: Pool, device: Device) -> Path:
    """A place through which the filesystem can be grown."""
    for place in pool.host.places(device):
        if not place.node and not place.read_only and place.root == "/":
            return place.target
    raise Refused(f"{device.path} is mounted read-only: its filesystem cannot grow")


def _put_filesystem(
    pool: Pool, volume: Volume, fs: FsType, wanted: Stage, undo: ExitStack
) -> Device:
    staging, capability = wanted.staging, wanted.capability
    mount_options.require(capability.options, fs)
    read_only = reads_only(volume, capability)
    place = devices.filesystem_at(pool, staging, volume)
    # Writable even for a reader: a journal must be replayed before it can be read.
    device = devices.raised(pool, volume, read_only=False, undo=undo, secret=wanted.secret)
    reach("stage.attached")
    if place and clear_broken(pool, volume, device, place):
        place = None
    if place:
        refuse_other_access(place, read_only=read_only)
        _refuse_other_options(place, volume, fs, capability)
    else:
        mount(pool, volume, fs, device, wanted)
        undo.callback(pool.host.unmount, staging)
        reach("stage.mounted")
    if not read_only:
        growth.grow_if_possible(pool, volume, device, staging, fs)
        reach("stage.grown")
    return device


def clear_broken(pool: Pool, volume: Volume, device: Device, place: Place) -> bool:
    """Take a filesystem off that broke, to be mounted anew. False: it is well.

    Raises Unusable while it is shown elsewhere too: to its pods it stays what it is.
    """
    if volume.fs is None or not (why := pool.host.broken(place, volume.fs)):
        return False
    others = [one.target for one in pool.host.places(device) if one.target != place.target]
    if others or volume.inline:
        where = ", ".join(map(str, others or [place.target]))
        raise Unusable(
            f"volume {volume.id}: {why}; it is mounted anew, and its log replayed, when nothing"
            f" uses it any more: end its pods, which have it at {where}"
        )
    pool.host.unmount(place.target)
    return True


def mount(pool: Pool, volume: Volume, fs: FsType, device: Device, wanted: Stage) -> None:
    """Checked, and grown where that cannot be done later; unless it is mounted elsewhere.

    Of an encrypted volume `device` is the open container, so that no secret is needed.
    """
    if all(one.node for one in pool.host.places(device)):
        sealing.renewed(pool, volume, device)
        pool.host.check(device, fs)
        growth.fit(pool, volume, device, fs)
    reach("stage.checked")
    read_only, options = reads_only(volume, wanted.capability), wanted.capability.options
    pool.host.mount(device, wanted.staging, fs, options, read_only=read_only)


def _refuse_other_options(place: Place, volume: Volume, fs: FsType, capability: Capability) -> None:
    """Compared by what they amount to, with what the kernel shows. Raises Conflict."""
    differences = mount_options.differences(
        fs, capability.options, place.options, discards=volume.discards
    )
    if differences:
        raise Conflict(
            f"{place.target} is mounted with other options than were asked for now:"
            f" {', '.join(differences)}"
        )


def _is_last(host: Host, place: Place) -> bool:
    """Also without the pool: what a place shows is told by the kernel."""
    shown = Device(Path(), place.number, read_only=False)
    return sum(not one.node for one in host.places(shown)) <= 1
