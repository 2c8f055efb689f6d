"""The interface of a pool type to the program: parse its configuration, open, initialise and check
pools.

Each package of a backend exports one `PoolType`; the table of all is in `driver.app.pools`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from driver.backends.node_resources import NodeResources
from driver.backends.pool_threads import SILENT
from driver.core.errors import Invalid
from driver.core.findings import Finding
from driver.core.ids import PoolId
from driver.core.ports.pool import Pool
from driver.core.ports.records import Records

LocationT = TypeVar("LocationT")
OptionsT = TypeVar("OptionsT")

Reader: TypeAlias = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """The configuration of a pool as text, from `--pool NAME=TYPE:LOCATION,OPTION=VALUE`. Only the
    pool type can interpret the location and the options.
    """

    name: str
    type: str
    location: str
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ConfiguredPool(Generic[LocationT, OptionsT]):
    """The configuration of a pool, with the location and options as its pool type parsed them."""

    name: str
    location: LocationT
    options: OptionsT


def _check_nothing(*_: Any) -> Iterable[Finding]:
    """Return no findings."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoolType(Generic[LocationT, OptionsT]):
    """A type of pool, such as loopfile or lvm: how its configuration is parsed, and how a pool is
    opened, initialised and checked.

    `name`: as in `--pool NAME=TYPE:LOCATION`. `read_location`: parses a location. `readers`:
    the parser of each option, by its name; the values are keyword arguments of `options`.
    `open`: returns the pool; `initialise`: makes the location a pool of the named driver, None:
    no pool has to be made; `check`: yields what `cellar doctor` reports. `keeps_state`: False
    if all data of a pool is lost when the process ends. `silent_after`: seconds without an
    answer after which a pool counts as unavailable.
    """

    name: str
    read_location: Callable[[str], LocationT]
    options: Callable[..., OptionsT]
    readers: Mapping[str, Reader]
    open: Callable[[ConfiguredPool[LocationT, OptionsT], NodeResources], Pool]
    # Marks the location as a pool of the driver that is named; None: no marker is needed.
    initialise: Callable[[ConfiguredPool[LocationT, OptionsT], str, Records], PoolId] | None = None
    # What `cellar doctor` finds out about all pools of this type that are configured.
    check: Callable[
        [Sequence[ConfiguredPool[LocationT, OptionsT]], str, Records], Iterable[Finding]
    ] = _check_nothing
    keeps_state: bool = True
    silent_after: float = SILENT

    def read(self, spec: PoolSpec) -> ConfiguredPool[LocationT, OptionsT]:
        """Parse the location and options of `spec`, and return the configured pool.

        Raises: Invalid: a value is wrong, or the type has no such option; the text names the
        accepted options.
        """
        if unknown := sorted(spec.options.keys() - self.readers.keys()):
            raise Invalid(
                f"pool {spec.name}: unknown option {', '.join(unknown)};"
                f" {self.name} pools have {', '.join(self.readers)}"
            )
        try:
            location = self.read_location(spec.location)
        except (ValueError, Invalid) as error:
            raise Invalid(f"pool {spec.name}: {error}") from None
        return ConfiguredPool(spec.name, location, self.options(**dict(self._read_options(spec))))

    def _read_options(self, spec: PoolSpec) -> Iterator[tuple[str, object]]:
        """Yield each option with its value. Raises: Invalid."""
        for key, text in spec.options.items():
            try:
                yield key, self.readers[key](text)
            except ValueError as error:
                raise Invalid(f"pool {spec.name}: {key}={text!r}: {error}") from None
            except Invalid as error:
                raise Invalid(f"pool {spec.name}: {key}: {error}") from None
