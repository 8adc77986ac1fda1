"""Plots of a comparison as inline SVG that takes its colours from the page (matplotlib, the ``report`` extra)."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hybridrec.evaluation.report import Comparison

COLOURS = 8
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SYMBOLS = ("●", "■", "▲", "◆", "▼", "✚", "✖", "★")
INK, LINE = "#0a0b0c", "#0c0b0a"  # stand for the page's own colours, and are replaced by them


def style(i: int) -> tuple[int, int]:
    """Colour and marker numbers of the i-th method: every pair once before any comes again."""
    return i % COLOURS, (i + i // COLOURS) % len(MARKERS)


def by_slice(comparison: Comparison, kind: str, metric: str, xlabel: str) -> str:
    """A line a method: the metric in every slice of a kind."""
    lines = {row.label: row.slices(kind, metric) for row in comparison.rows}
    labels = list(next(iter(lines.values())))

    def draw(axes: Axes) -> None:
        for i, values in enumerate(lines.values()):
            axes.plot(range(len(labels)), [values[x] for x in labels], **_look(i))
        axes.set_xticks(range(len(labels)), labels)
        axes.set_ylim(bottom=0)

    return _svg(draw, xlabel, metric, f"{metric} by {xlabel}", lines)


def by_time(comparison: Comparison) -> str | None:
    """A point a method: the main metric against training time, on a logarithmic axis. None where nothing was timed."""
    times = {row.label: row.seconds for row in comparison.rows if row.seconds}
    return _scatter(comparison, times, "training time, seconds", "log") if times else None


def by_metric(comparison: Comparison, metric: str, xlabel: str) -> str:
    """A point a method: the main metric against another."""
    return _scatter(comparison, {row.label: row.seeds.metrics[metric] for row in comparison.rows}, xlabel, "linear")


def _scatter(comparison: Comparison, x: Mapping[str, float], xlabel: str, scale: str) -> str:
    def draw(axes: Axes) -> None:
        for i, row in enumerate(comparison.rows):
            if row.label in x:
                axes.plot(
                    [x[row.label]], [row.seeds.metrics[comparison.main]], **{**_look(i), "markersize": 8, "linestyle": ""}
                )
        axes.set_xscale(scale)

    return _svg(draw, xlabel, comparison.main, f"{comparison.main} against {xlabel}", x)


def _look(i: int) -> dict[str, Any]:
    colour, marker = style(i)
    return {"color": _stand_in(colour), "marker": MARKERS[marker], "linewidth": 1.5, "markersize": 5}


def _stand_in(colour: int) -> str:
    return f"#0b0c{colour + 16:02x}"


def _svg(draw: Any, xlabel: str, ylabel: str, title: str, lines: Mapping[str, Any] | Sequence[str]) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # The salt keeps ids of several plots of one page apart, and the same plot the same.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": f"{title}{sorted(lines)}", "font.size": 10}):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.set_xlabel(xlabel, color=INK)
        axes.set_ylabel(ylabel, color=INK)
        axes.tick_params(which="both", colors=INK, labelcolor=INK, length=0)
        axes.grid(axis="both", color=LINE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', rf'\1 role="img" aria-label="{title}"', svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # named alike in every plot, and never referred to
    svg = svg.replace(INK, "currentColor").replace(LINE, "var(--line)")
    for colour in range(COLOURS):
        svg = svg.replace(_stand_in(colour), f"var(--c{colour})")
    return re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
