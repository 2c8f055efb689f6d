"""`cellar pools init`: marks the location of a configured pool as this driver's."""

from __future__ import annotations

from driver.app.pools import find_pool_type
from driver.app.settings import ServeSettings
from driver.backends.pool_type import PoolSpec
from driver.core.errors import Invalid
from driver.core.ids import PoolId
from driver.linux.state.node_state import node_state


def initialise(settings: ServeSettings, name: str) -> tuple[str, PoolId]:
    """Make the location of the configured pool `name` a pool of this driver, by writing a mark with
    a new pool id there, and return the location and that id.

    Raises: Invalid: no such pool, or its type needs no mark; Conflict: the location has a mark
    already; Refused: the mark cannot be written; PoolUnavailable: the location cannot be reached;
    Failed: the pool could not be recorded.
    """
    spec = _find_spec(settings, name)
    pool_type = find_pool_type(spec)
    if pool_type.initialise is None:
        raise Invalid(f"pool {name} is of type {spec.type}, which needs no marker")
    records = node_state(settings.state_dir, settings.driver_name).pools
    pool_id = pool_type.initialise(pool_type.read(spec), settings.driver_name, records)
    return spec.location, pool_id


def _find_spec(settings: ServeSettings, name: str) -> PoolSpec:
    """Return the configured pool of this name. Raises: Invalid if there is none."""
    for spec in settings.pools:
        if spec.name == name:
            return spec
    names = ", ".join(spec.name for spec in settings.pools)
    raise Invalid(f"no pool {name!r} is configured; there are {names}")
