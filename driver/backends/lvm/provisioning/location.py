"""Parses the location of a pool of logical volumes: GROUP is thick provisioning, GROUP/POOL
thin.
"""

from __future__ import annotations

import re
from typing import Final

from driver.backends.lvm import tags
from driver.backends.lvm.options import Options
from driver.backends.lvm.provisioning.provisioning import Provisioning
from driver.backends.lvm.provisioning.thick import Thick
from driver.backends.lvm.provisioning.thin import Thin
from driver.backends.lvm.volume_group import Groups
from driver.core.errors import Invalid

NAME: Final = r"[A-Za-z0-9_.+][A-Za-z0-9_.+-]{0,62}"
_LOCATION: Final = re.compile(rf"{NAME}(/{NAME})?", re.ASCII)


def configure_provisioning(
    name: str, location: str, options: Options, groups: Groups
) -> Provisioning:
    """Return the thick or thin provisioning of the pool at `location`, and give the pool's options
    `devices=` and `uuid=` to the object of its volume group.

    `name`: the pool's name in the configuration, for messages.

    Raises: Invalid if `location` is not GROUP or GROUP/POOL, another pool of the volume group has
    other `devices=` or `uuid=`, or the options exclude each other.
    """
    if not _LOCATION.fullmatch(location):
        raise Invalid(
            f"pool {name}: {location!r} is not GROUP or GROUP/POOL, in names as LVM has them"
        )
    vg_name, _, pool = location.partition("/")
    group = groups.get(vg_name)
    try:
        claimable = options.disks.named_paths if options.claimBlankDisks and options.disks else ()
        group.configure(options.devices, options.uuid, claimable)
    except Invalid as error:
        raise Invalid(f"pool {name}: {error}") from None
    if pool:
        if (options.stripes, options.mirrors) != (1, 0):
            raise Invalid(
                f"pool {name}: stripes and mirrors are for thick volumes; a thin pool lies as"
                " `lvcreate` made it"
            )
        return Thin(group, pool, options, tags.recorded_reservation)
    return Thick(group, options)
