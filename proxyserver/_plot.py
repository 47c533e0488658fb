"""The figures of simulations as a drawing: one column a measure, one bar a policy."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

MEASURES = {
    "load_over_least": "load, over least possible",
    "load_s": "load time, s",
    "cold_ratio": "share of cold requests",
    "wait_mean_s": "mean wait, s",
    "wait_p95_s": "95 % wait less than, s",
    "wait_max_s": "longest wait, s",
    "idle_gb_hours": "idle memory, GB h",
    "fairness": "fairness (1: all alike)",
}
COLUMN, ROW, HEAD, MARGIN = 190, 24, 34, 16
BAR, BAR_MAX = 14, 120
LETTER = 8
"""What a letter of a name takes at most, all in pixels."""

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.head { font-weight: 600; }
.note { fill: #59636e; }
.paper { fill: #ffffff; }
.bar { fill: #9ec5f4; }
.best { fill: #0b62c4; }
.rule { stroke: #d1d9e0; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .note { fill: #9198a1; }
  .paper { fill: #0d1117; }
  .bar { fill: #2f5486; }
  .best { fill: #6cb6ff; }
  .rule { stroke: #3d444d; }
}
"""


def svg(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a drawing of the rows of `lab.simulate`, readable on light and on dark paper.

    Bars of one measure and capacity have one scale, which begins at 0; the best stands out.
    A measure that is 0 everywhere is left out.
    """
    measures = {key: words for key, words in MEASURES.items() if any(row.get(key) for row in rows)}
    shapes = [f'<text class="title" x="{MARGIN}" y="{MARGIN + 12}">{escape(title)}</text>']
    y = MARGIN + 30
    left = 2 * MARGIN + LETTER * max(
        (len(str(row[key])) for row in rows for key in ("capacity", "policy")), default=0
    )
    width = left + COLUMN * len(measures) + MARGIN
    for capacity, group in groupby(rows, key=lambda row: str(row["capacity"])):
        of_capacity = list(group)
        shapes += _block(capacity, of_capacity, measures, left, y)
        y += HEAD + ROW * len(of_capacity) + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" width="{width}"'
        f' height="{y}" role="img">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n'
        f'<rect class="paper" width="{width}" height="{y}"/>\n' + "\n".join(shapes) + "\n</svg>\n"
    )


def _block(
    capacity: str,
    rows: Sequence[Mapping[str, Any]],
    measures: Mapping[str, str],
    left: int,
    top: int,
) -> list[str]:
    """Draw the policies on one capacity, below each other."""
    end = left + COLUMN * len(measures)
    shapes = [
        f'<text class="note" x="{MARGIN}" y="{top + 16}">{escape(capacity)}</text>',
        f'<line class="rule" x1="{MARGIN}" y1="{top + 24}" x2="{end}" y2="{top + 24}"/>',
    ]
    for number, row in enumerate(rows):
        y = top + HEAD + ROW * number
        name = escape(str(row["policy"]))
        shapes.append(f'<text class="head" x="{MARGIN}" y="{y + 11}">{name}</text>')
    for column, (key, words) in enumerate(measures.items()):
        x = left + COLUMN * column
        shapes.append(f'<text class="note" x="{x}" y="{top + 16}">{escape(words)}</text>')
        figures = [float(row[key]) if key in row else None for row in rows]
        known = [figure for figure in figures if figure is not None]
        best = (max if key == "fairness" else min)(known, default=0.0)
        for number, figure in enumerate(figures):
            if figure is not None:
                y = top + HEAD + ROW * number
                kind = "best" if _figure(figure) == _figure(best) else "bar"
                length = BAR_MAX * figure / max(max(known), 1e-12)
                shapes.append(
                    f'<rect class="{kind}" x="{x}" y="{y}" width="{length:.1f}"'
                    f' height="{BAR}" rx="2"/>'
                    f'<text x="{x + length + 6:.1f}" y="{y + 11}">{_figure(figure)}</text>'
                )
    return shapes


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
