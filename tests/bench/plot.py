"""Plots as SVG: lines over two logarithmic axes, light or dark as the reader's system is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 250, 40, 44  # margins, pixels
GAP = 15  # between two labels, pixels
TICKS_APART = 50  # pixels
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 } .title { font-size: 14px; font-weight: 600 }
.grid { stroke: #d0d7de; stroke-width: 1 } .line { fill: none; stroke-width: 2 }
.c0 { stroke: #0969da; fill: #0969da } .c1 { stroke: #bc4c00; fill: #bc4c00 }
.c2 { stroke: #1a7f37; fill: #1a7f37 } .c3 { stroke: #8250df; fill: #8250df }
.c4 { stroke: #bf3989; fill: #bf3989 } .c5 { stroke: #57606a; fill: #57606a }
.page { fill: #ffffff }
polyline.line { fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .grid { stroke: #3d444d }
  .c0 { stroke: #58a6ff; fill: #58a6ff } .c1 { stroke: #f0883e; fill: #f0883e }
  .c2 { stroke: #3fb950; fill: #3fb950 } .c3 { stroke: #bc8cff; fill: #bc8cff }
  .c4 { stroke: #f778ba; fill: #f778ba } .c5 { stroke: #9198a1; fill: #9198a1 }
  .page { fill: #0d1117 }
}
"""

COLOURS = 6  # .c0 to .c5
Curves = Mapping[str, Sequence[tuple[int, float]]]


@dataclass(frozen=True)
class _Axis:
    """A logarithmic axis, from `low` at pixel `start` to `high` at pixel `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        span = math.log(self.high / self.low)
        return self.start + (self.end - self.start) * math.log(value / self.low) / span

    @property
    def ticks(self) -> list[float]:
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        return [10.0**power for power in range(first, last + 1)]

    @property
    def ticks_to_end(self) -> list[float]:
        """The ticks with the end of the axis, instead of one that is too near to it."""
        apart = [tick for tick in self.ticks if self.end - self.at(tick) >= TICKS_APART]
        return [*apart, self.high]


def svg(title: str, across: str, curves: Curves) -> str:
    """Return the picture: milliseconds over the numbers that `across` names, a line for each label."""
    points = [point for curve in curves.values() for point in curve]
    numbers, times = [number for number, _ in points], [time for _, time in points]
    x = _Axis(min(numbers), max(numbers), LEFT, WIDTH - RIGHT)
    low, high = 10 ** math.floor(math.log10(min(times))), 10 ** math.ceil(math.log10(max(times)))
    y = _Axis(low, max(high, 10 * low), HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text class="title" x="{LEFT}" y="20">{escape(title)}</text>',
        *_grid(x, y, across),
        *_lines(curves, x, y),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _grid(x: _Axis, y: _Axis, across: str) -> Iterator[str]:
    for tick in y.ticks:
        at = y.at(tick)
        yield f'<path class="grid" d="M{LEFT} {at:.1f}H{x.end}"/>'
        yield f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{_time(tick)}</text>'
    for tick in x.ticks_to_end:
        at = x.at(tick)
        yield f'<path class="grid" d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
        bottom = HEIGHT - BOTTOM + 16
        yield f'<text x="{at:.1f}" y="{bottom}" text-anchor="middle">{tick:,.0f}</text>'
    middle = (LEFT + x.end) / 2
    yield f'<text x="{middle:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>'


def _time(milliseconds: float) -> str:
    return f"{milliseconds:g} ms" if milliseconds < 1_000 else f"{milliseconds / 1_000:g} s"


def _lines(curves: Curves, x: _Axis, y: _Axis) -> Iterator[str]:
    heights = _label_heights([y.at(curve[-1][1]) for curve in curves.values()])
    for number, (label, curve) in enumerate(curves.items()):
        positions = [(x.at(across), y.at(time)) for across, time in curve]
        path = " ".join(f"{across:.1f},{up:.1f}" for across, up in positions)
        yield f'<polyline class="line c{number % COLOURS}" points="{path}"/>'
        for across, up in positions:
            yield f'<circle class="c{number % COLOURS}" cx="{across:.1f}" cy="{up:.1f}" r="3"/>'
        at = heights[number]
        yield f'<circle class="c{number % COLOURS}" cx="{x.end + 14}" cy="{at - 4:.1f}" r="4"/>'
        yield f'<text x="{x.end + 24}" y="{at:.1f}">{escape(label)}</text>'


def _label_heights(heights: Sequence[float]) -> list[float]:
    """Return the heights at which labels can stand, in the given order, none above another."""
    order = sorted(range(len(heights)), key=lambda number: heights[number])
    placed = [heights[number] + 4 for number in order]
    for above, below in pairwise(range(len(placed))):
        placed[below] = max(placed[below], placed[above] + GAP)
    over = max(0.0, placed[-1] - (HEIGHT - BOTTOM)) if placed else 0.0
    by_number = dict(zip(order, placed, strict=True))
    return [by_number[number] - over for number in range(len(heights))]
