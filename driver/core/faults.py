"""What can be wrong with a volume or a pool, as health reports it."""

from __future__ import annotations

from dataclasses import dataclass

from driver.core.errors import PoolFailed, PoolReadOnly, PoolUnavailable


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong with a volume or a pool.

    `kind`: CamelCase and stable, for programs; `text`: for people.
    """

    kind: str
    text: str
    severity: str = "degraded"  # degraded | inaccessible | data_loss


def fault_of(error: PoolUnavailable) -> Fault:
    """Return the fault that health reports of a pool that raised `error`, or of an image in it.

    Its kind is PoolReadOnly or PoolFailed as the error is, else PoolAway, a name that users
    know.
    """
    if isinstance(error, PoolReadOnly):
        return Fault("PoolReadOnly", str(error), "degraded")
    kind = "PoolFailed" if isinstance(error, PoolFailed) else "PoolAway"
    return Fault(kind, str(error), "inaccessible")
