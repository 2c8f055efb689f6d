"""The dashboard is what its code makes, and asks only for metrics that there are."""

from __future__ import annotations

from typing import Final

import pytest

from tests.unit.observe import exposition
from tools import dashboard
from tools.grafana import WIDTH, Panel
from tools.shell import ROOT

PANELS: Final = [panel for panels in dashboard.ROWS.values() for panel in panels]
UNITS: Final = {"bytes", "Bps", "iops", "ops", "percentunit", "reqps", "s", "short"}  # Grafana's
SOURCES: Final = "".join(path.read_text() for path in ROOT.glob("driver/**/*.py"))


def test_what_is_committed_is_what_the_code_makes() -> None:
    assert dashboard.FILE.read_text() == dashboard.text(), "make chart"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_panel_says_what_it_means_in_which_unit(panel: Panel) -> None:
    assert panel.description.endswith(".")
    assert panel.unit in UNITS
    assert panel.queries


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_query_asks_for_metrics_that_there_are(panel: Panel) -> None:
    known = exposition.metric_names()
    for expression in panel.queries:
        assert exposition.names_in(expression) <= known, expression
        assert exposition.names_in(expression) or "ALERTS{" in expression


def test_what_one_node_does_not_export_is_a_name_in_the_driver() -> None:
    assert [name for name in exposition.OTHER_METRICS if f'"{name}"' not in SOURCES] == []


def test_a_variable_asks_for_a_metric_that_there_is() -> None:
    for _, query in dashboard.VARIABLES.values():
        assert exposition.names_in(query) <= exposition.metric_names()


def test_no_two_panels_of_a_row_have_the_same_title() -> None:
    for panels in dashboard.ROWS.values():
        assert len({panel.title for panel in panels}) == len(panels)


def test_panels_lie_beside_each_other_and_not_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard.dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= WIDTH
        taken |= cells
