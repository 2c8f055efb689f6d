"""The plots of docs/performance.md."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pytest

from tests.bench.plot import COLOURS, GAP, HEIGHT, STYLE, WIDTH, svg

SVG = "{http://www.w3.org/2000/svg}"
CURVES = {f"call {number}": [(10, 1.0), (9_000, 4_000.0)] for number in range(COLOURS)}


def texts(picture: str) -> list[ET.Element]:
    return list(ET.fromstring(picture).iter(f"{SVG}text"))


def test_each_line_has_a_colour_of_its_own_in_light_and_dark() -> None:
    lines = ET.fromstring(svg("t", "volumes", CURVES)).iter(f"{SVG}polyline")
    classes = {line.get("class") for line in lines}
    assert len(classes) == COLOURS
    for number in range(COLOURS):
        assert len(re.findall(rf"\.c{number} {{", STYLE)) == 2
    assert STYLE.count(".page {") == 2


def test_labels_of_lines_that_end_together_stand_below_each_other() -> None:
    labels = [text for text in texts(svg("t", "volumes", CURVES)) if "call" in (text.text or "")]
    heights = sorted(float(text.get("y", "")) for text in labels)
    assert all(below - above >= GAP for above, below in pairwise(heights))
    assert heights[-1] <= HEIGHT


def test_axes_show_their_ends_and_seconds_from_a_thousand_on() -> None:
    shown = [text.text for text in texts(svg("t", "volumes", CURVES))]
    assert {"1 ms", "100 ms", "1 s", "10 s", "10", "1,000", "9,000", "volumes"} <= set(shown)


@pytest.mark.parametrize("part", ["volumes", "nodes"])
def test_the_plots_are_in_the_page(part: str) -> None:
    page = Path("docs/performance.md").read_text(encoding="utf-8")
    assert f"](performance-{part}.svg)" in page
    root = ET.parse(f"docs/performance-{part}.svg").getroot()
    assert root.get("viewBox") == f"0 0 {WIDTH} {HEIGHT}"
