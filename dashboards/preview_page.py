"""The page of a dashboard's preview: its panels in their places, each drawn from the answers to its queries. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from harness.units import format_size

PIXELS_PER_ROW = 36
COLUMNS = 24
WIDTH_PIXELS = 1600
TABLE_ROW_PIXELS = 21
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8a8a8a", "#000000", "#9467bd")
SCALES = {
    "ns": (1e-6, "ms"),
    "s": (1.0, "s"),
    "bytes": (1 / 2**20, "MiB"),
    "bps": (1e-6, "Mbit/s"),
    "percentunit": (100.0, "%"),
}
"""Grafana's unit: factor and unit of the preview's axis; a panel of Grafana chooses the prefix by the values."""

Answer = list[tuple[str, dict[str, Any]]]
"""(alias, series) of every query of a panel; a series has name, columns, values and perhaps tags."""

_STYLE = """
body { margin: 12px; background: #f4f5f5; font: 13px sans-serif; color: #24292e; }
h1 { font-size: 16px; margin: 4px 0 8px; font-weight: 600; }
h1 small { font-weight: 400; color: #666; }
main { display: grid; grid-template-columns: repeat(24, 1fr); gap: 6px; grid-auto-rows: %dpx; }
section { background: #fff; border: 1px solid #d8dade; border-radius: 2px; overflow: hidden; }
h2 { font-size: 12px; margin: 5px 8px 0; }
.none { color: #999; text-align: center; padding-top: 40px; }
"""


def rows_of(panels: Sequence[Mapping[str, Any]]) -> int:
    """Height of a dashboard in rows of Grafana's grid."""
    return max(int(panel["gridPos"]["y"] + panel["gridPos"]["h"]) for panel in panels)


def page(title: str, panels: Sequence[tuple[Mapping[str, Any], Answer]]) -> str:
    """One self-contained HTML document."""
    sections = "\n".join(_section(panel, answer) for panel, answer in panels)
    return (
        "<!doctype html><html><head><meta charset='utf-8'>"
        f"<title>{html.escape(title)}</title><style>{_STYLE % (PIXELS_PER_ROW - 6)}</style>"
        f"<script>{get_plotlyjs()}</script></head><body>"
        f"<h1>{html.escape(title)} <small>preview from the dashboard's own queries, not Grafana</small></h1>"
        f"<main>{sections}</main></body></html>"
    )


def _section(panel: Mapping[str, Any], answer: Answer) -> str:
    place = panel["gridPos"]
    style = f"grid-column: {place['x'] + 1} / span {place['w']}; grid-row: {place['y'] + 1} / span {place['h']};"
    height = place["h"] * PIXELS_PER_ROW - 32
    figure = _DRAWN[panel["type"]](panel, answer) if answer else None
    if figure is None:
        content = "<p class='none'>no data</p>"
    else:
        figure.update_layout(
            height=height,
            margin={"l": 55, "r": 10, "t": 6, "b": 30},
            font={"size": 10},
            template="plotly_white",
            legend={"font": {"size": 8}, "orientation": "v"},
        )
        content = figure.to_html(full_html=False, include_plotlyjs=False, config={"staticPlot": True})
    return f"<section style='{style}'><h2>{html.escape(panel['title'])}</h2>{content}</section>"


def _unit(panel: Mapping[str, Any]) -> tuple[float, str]:
    unit = panel["fieldConfig"]["defaults"].get("unit", "")
    return SCALES.get(unit, (1.0, "" if unit == "short" else unit))


def _over_time(panel: Mapping[str, Any], answer: Answer) -> go.Figure:
    factor, unit = _unit(panel)
    figure = go.Figure()
    dots = panel["fieldConfig"]["defaults"]["custom"].get("drawStyle") == "points"
    for alias, series in answer:
        for at, column in enumerate(series["columns"][1:], 1):
            pairs = [(row[0], row[at]) for row in series["values"] if row[at] is not None]
            if not pairs:
                continue
            figure.add_scatter(
                x=[time_ns / 1e6 for time_ns, _ in pairs],
                y=[value * factor for _, value in pairs],
                mode="markers" if dots else "lines",
                name=name_of(alias, column, series.get("tags", {})),
                line={"width": 1},
                marker={"size": 5, "color": COLOURS[len(figure.data) % len(COLOURS)]},
                line_color=COLOURS[len(figure.data) % len(COLOURS)],
            )
    for step in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", ()):
        if step.get("value") is not None:
            figure.add_hline(y=step["value"] * factor, line={"color": "red", "width": 1, "dash": "dash"})
    figure.update_xaxes(type="date")
    figure.update_yaxes(title=unit, rangemode="normal" if dots else "tozero")
    return figure


def name_of(alias: str, column: str, tags: Mapping[str, str]) -> str:
    """Name of a series by its alias, as Grafana replaces it."""
    named = re.sub(r"\$tag_(\w+)", lambda match: tags.get(match[1], ""), alias)
    return " ".join(named.replace("$col", column).split()) or column


def _over_load(panel: Mapping[str, Any], answer: Answer) -> go.Figure:
    factor, unit = _unit(panel)
    figure = go.Figure()
    for _, series in answer:
        mode, load = series["columns"].index("mode"), series["columns"].index("offered_bps")
        (figure_at,) = {*range(len(series["columns"]))} - {0, mode, load}
        for colour, name in zip(COLOURS, sorted({row[mode] for row in series["values"]}), strict=False):
            rows = [row for row in series["values"] if row[mode] == name and None not in (row[load], row[figure_at])]
            figure.add_scatter(
                x=[row[load] / 1e6 for row in rows],
                y=[row[figure_at] * factor for row in rows],
                mode="markers",
                name=name,
                marker={"size": 6, "color": colour, "opacity": 0.7},
            )
    figure.update_xaxes(title="offered load [Mbit/s]", rangemode="tozero")
    figure.update_yaxes(title=unit, rangemode="tozero")
    return figure


def _bars(panel: Mapping[str, Any], answer: Answer) -> go.Figure:
    factor, unit = _unit(panel)
    figure = go.Figure()
    modes = [series["tags"]["mode"] for _, series in answer]
    columns = answer[0][1]["columns"][1:]
    for at, column in enumerate(columns, 1):
        values = [series["values"][0][at] for _, series in answer]
        figure.add_bar(x=modes, y=[None if value is None else value * factor for value in values], name=column)
    figure.update_yaxes(title=unit)
    return figure


def _table(panel: Mapping[str, Any], answer: Answer) -> go.Figure:
    tags = sorted(answer[0][1].get("tags", {}))
    columns = answer[0][1]["columns"]
    units = {
        override["matcher"]["options"]: prop["value"]
        for override in panel["fieldConfig"]["overrides"]
        for prop in override["properties"]
        if prop["id"] == "unit"
    }
    kept = [at for at, name in enumerate(columns) if name != "time"]
    names = [*tags, *(_heading(columns[at], units) for at in kept)]
    rows = [
        [*(series.get("tags", {}).get(tag, "") for tag in tags), *(_cell(row[at], columns[at], units) for at in kept)]
        for _, series in answer
        for row in series["values"]
    ]
    shown = panel["gridPos"]["h"] * PIXELS_PER_ROW // TABLE_ROW_PIXELS - 3
    return go.Figure(
        go.Table(
            header={"values": names, "font": {"size": 9}, "align": "left"},
            cells={"values": list(zip(*rows[:shown], strict=True)), "font": {"size": 9}, "align": "left"},
        )
    )


def _heading(column: str, units: Mapping[str, str]) -> str:
    unit = "" if units.get(column) == "bytes" else SCALES.get(units.get(column, ""), (1.0, ""))[1]
    shown = column.replace("_", " ")
    return f"{shown} [{unit}]" if unit else shown


def _cell(value: object, column: str, units: Mapping[str, str]) -> str:
    if value is None:
        return ""
    if isinstance(value, int | float) and units.get(column) == "bytes":
        return format_size(round(value), 3)
    if isinstance(value, int | float):
        factor, _ = SCALES.get(units.get(column, ""), (1.0, ""))
        return f"{value * factor:.4g}" if factor != 1.0 or isinstance(value, float) else f"{value:,}"
    return str(value)


_DRAWN: dict[str, Callable[[Mapping[str, Any], Answer], go.Figure]] = {
    "timeseries": _over_time,
    "xychart": _over_load,
    "barchart": _bars,
    "table": _table,
}
