"""Queries of a dashboard as Grafana sends them to InfluxDB: its interpolation of variables and times."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

NS_PER_MS = 1_000_000
MAX_DATA_POINTS = 1000
STEPS_MS = (
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1000,
    2000,
    5000,
    10_000,
    30_000,
    60_000,
    300_000,
    3_600_000,
    86_400_000,
)


class Query(NamedTuple):
    """Where it stands, its text, the alias of its series, and the shortest interval of its panel."""

    where: str
    text: str
    alias: str = ""
    least_ms: int = 1


class Range(NamedTuple):
    """The time range of the dashboard."""

    from_ms: int
    to_ms: int


def queries(dashboard: Mapping[str, Any]) -> Iterator[Query]:
    """Every query of every variable, annotation and panel. ValueError where a panel's interval is not in ms."""
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield Query(f"variable {variable['name']}", variable["query"])
    for annotation in dashboard["annotations"].get("list", ()):
        yield Query(f"annotation {annotation['name']}", annotation["target"]["query"])
    for panel in dashboard["panels"]:
        yield from panel_queries(panel)


def panel_queries(panel: Mapping[str, Any]) -> Iterator[Query]:
    """Every query of one panel. ValueError as `queries`."""
    interval = panel.get("interval", "1ms")
    if not interval.endswith("ms"):
        raise ValueError(f"panel {panel['title']}: interval {interval!r} is not in ms")
    for target in panel["targets"]:
        yield Query(f"panel {panel['title']}", target["query"], target["alias"], int(interval[:-2]))


def escaped(value: str) -> str:
    """One value in the format `regex`."""
    return re.sub(r"[\\^$*+?.()|\[\]{}/]", r"\\\g<0>", value)


def formatted(values: Sequence[str] | None) -> str:
    """The chosen values in the format `regex`; None is all, whose own value is taken as it is."""
    if values is None:
        return ".*"
    return escaped(values[0]) if len(values) == 1 else f"({'|'.join(map(escaped, values))})"


def interval(shown: Range, least_ms: int) -> str:
    """$__interval: the range by the panel's width, rounded, not below the panel's own."""
    raw_ms = (shown.to_ms - shown.from_ms) / MAX_DATA_POINTS
    rounded_ms = next((step for step in STEPS_MS if step * 1.5 > raw_ms), STEPS_MS[-1])
    return f"{max(rounded_ms, least_ms)}ms"


def interpolated(query: Query, chosen: Mapping[str, Sequence[str] | None], shown: Range) -> str:
    """The text as it is sent. KeyError for a variable the dashboard does not have."""
    text = query.text.replace("$timeFilter", f"time >= {shown.from_ms}ms and time <= {shown.to_ms}ms")
    text = text.replace("$__interval", interval(shown, query.least_ms))
    text = re.sub(r"\$\{(\w+):regex\}", lambda match: formatted(chosen[match[1]]), text)
    if "$" in text.replace("$/", ""):
        raise KeyError(f"a variable is left in {text}")
    return text
