"""Grafana's form of a dashboard: panels in a grid, variables, and the data source they ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

WIDTH: Final = 24  # columns of the grid
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
Json: TypeAlias = dict[str, Any]
# What the variables of the dashboard choose, as selectors of its queries.
NODE: Final = 'node=~"$node"'
POOL: Final = f'{NODE},pool=~"$pool"'
CLAIM: Final = 'namespace=~"$namespace",persistentvolumeclaim=~"$claim"'
RANGE: Final = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """A panel. `queries`: the legend of each by its expression; `unit`: Grafana's name of it."""

    title: str
    description: str
    unit: str
    queries: Mapping[str, str]
    kind: str = "timeseries"
    width: int = 8
    height: int = 7
    warning: float | None = None  # from this value on it is red
    columns: tuple[str, ...] = ()  # of a table: its labels

    def json(self, number: int, left: int, top: int) -> Json:
        """Return the panel as Grafana has it, at its place in the grid."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": SOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": left, "y": top},
            "fieldConfig": {"defaults": self._field(), "overrides": []},
            "options": _OPTIONS[self.kind],
            "targets": list(self._targets()),
            "transformations": list(self._transformations()),
        }

    def _field(self) -> Json:
        colour = "text" if self.kind == "stat" else "green"
        steps: list[Json] = [{"color": colour, "value": None}]
        if self.warning is not None:
            steps.append({"color": "red", "value": self.warning})
        field: Json = {"unit": self.unit, "thresholds": {"mode": "absolute", "steps": steps}}
        if self.kind == "timeseries":
            field["custom"] = {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never"}
        else:
            field["color"] = {"mode": "thresholds"}
        if self.kind == "bargauge":
            field |= {"min": 0, "max": 1}
        return field

    def _targets(self) -> Iterator[Json]:
        instant = self.kind != "timeseries"
        for index, (expression, legend) in enumerate(self.queries.items()):
            yield {
                "refId": chr(ord("A") + index),
                "datasource": SOURCE,
                "expr": expression,
                "legendFormat": legend,
                "instant": instant,
                "range": not instant,
                "format": "table" if self.kind == "table" else "time_series",
            }

    def _transformations(self) -> Iterator[Json]:
        if self.kind == "table":
            include = {"names": list(self.columns)}
            yield {"id": "filterFieldsByName", "options": {"include": include}}


_LEGEND: Final = {"displayMode": "list", "placement": "bottom", "showLegend": True}
_LAST: Final = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: Final[Mapping[str, Json]] = {
    "timeseries": {"legend": _LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
    "stat": {"colorMode": "value", "graphMode": "none", "reduceOptions": _LAST},
    "bargauge": {"orientation": "horizontal", "displayMode": "gradient", "reduceOptions": _LAST},
    "table": {"showHeader": True, "cellHeight": "sm"},
}


def variables(queries: Mapping[str, tuple[str, str]]) -> Iterator[Json]:
    """Yield the variable of the data source, and those whose values a query finds.

    `queries`: the label and the query of each by its name.
    """
    yield {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
    }
    for name, (label, query) in queries.items():
        yield {
            "name": name,
            "label": label,
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": query, "refId": name},
            "definition": query,
            "refresh": 2,  # whenever the time range changes
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",  # also what has no such label
            "current": {"text": ["All"], "value": ["$__all"]},
        }


def panels(rows: Mapping[str, Iterable[Panel]]) -> Iterator[Json]:
    """Yield the rows, by their titles, and their panels, from left to right and top to bottom."""
    number, top = 1, 0
    for title, row_panels in rows.items():
        place = {"h": 1, "w": WIDTH, "x": 0, "y": top}
        row = {"id": number, "type": "row", "title": title, "collapsed": False, "panels": []}
        yield {**row, "gridPos": place}
        number, top = number + 1, top + 1
        for line in _lines(row_panels):
            left = 0
            for panel in line:
                yield panel.json(number, left, top)
                number, left = number + 1, left + panel.width
            top += max(panel.height for panel in line)


def _lines(panels: Iterable[Panel]) -> Iterator[list[Panel]]:
    """Yield the panels of each line of the grid."""
    line: list[Panel] = []
    for panel in panels:
        if sum(each.width for each in line) + panel.width > WIDTH:
            yield line
            line = []
        line.append(panel)
    yield line
