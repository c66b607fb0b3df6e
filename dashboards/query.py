"""InfluxQL as a target of a panel: the generator's library knows the panels, but not this data source.

Variables stand as ${name:regex} within /^...$/, which is right for one value, several and all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import DataSourceRef

from harness.record.schema import SCHEMA

DATASOURCE = DataSourceRef(type_val="influxdb", uid="${datasource}")
VARIABLES = {"profile": "profile", "mode": "mode", "run": "run_id"}
"""Variables of a dashboard and the tags they choose by."""


class InfluxQl(Dataquery, Builder[Dataquery]):
    """One query. alias: name of its series, in which $tag_x is the tag x it is grouped by and $col the column."""

    def __init__(self, query: str, *, alias: str = "", table: bool = False, ref: str = "A") -> None:
        self._query, self._alias, self._table, self._ref = query, alias, table, ref

    def build(self) -> Dataquery:
        return self

    def to_json(self) -> dict[str, object]:
        return {
            "alias": self._alias,
            "datasource": DATASOURCE,
            "query": self._query,
            "rawQuery": True,
            "refId": self._ref,
            "resultFormat": "table" if self._table else "time_series",
        }


class Annotations(Dataquery, Builder[Dataquery]):
    """A query whose rows become annotations: their text and the columns that become labels."""

    def __init__(self, query: str, text: str, labels: Sequence[str]) -> None:
        self._query, self._text, self._labels = query, text, labels

    def build(self) -> Dataquery:
        return self

    def to_json(self) -> dict[str, object]:
        return {
            "fromAnnotations": True,
            "query": self._query,
            "rawQuery": True,
            "refId": "annotations",
            "tagsColumn": ",".join(self._labels),
            "textColumn": self._text,
        }


def where(*variables: str, time: bool = True) -> str:
    """The condition: the time range of the dashboard and these variables, by default all."""
    conditions = ["$timeFilter"] if time else []
    conditions += [f'"{VARIABLES[name]}" =~ /^${{{name}:regex}}$/' for name in variables or VARIABLES]
    return " AND ".join(conditions)


def over_time(measurement: str, columns: dict[str, str], group_by: Sequence[str], variables: Sequence[str] = ()) -> str:
    """Columns (InfluxQL by name) in intervals of the panel's width."""
    groups = ", ".join(["time($__interval)", *map(quoted, group_by)])
    return (
        f"SELECT {_columns(columns)} FROM {_known(measurement)} WHERE {where(*variables)} GROUP BY {groups} fill(none)"
    )


def rows(measurement: str, names: Sequence[str], variables: Sequence[str] = ()) -> str:
    """Points as they are, newest first."""
    columns = ", ".join(map(quoted, names))
    return f"SELECT {columns} FROM {_known(measurement)} WHERE {where(*variables)} ORDER BY time DESC"


def by_tag(measurement: str, columns: dict[str, str], group_by: Sequence[str], variables: Sequence[str] = ()) -> str:
    """Columns (InfluxQL by name) over the whole time range, a row per value of the tags."""
    groups = ", ".join(map(quoted, group_by))
    return f"SELECT {_columns(columns)} FROM {_known(measurement)} WHERE {where(*variables)} GROUP BY {groups}"


def tag_values(tag: str, *variables: str) -> str:
    """Values of a tag of all runs, those not ended and those never begun included; a variable's query."""
    condition = f" WHERE {where(*variables, time=False)}" if variables else ""
    return f"SHOW TAG VALUES FROM {_known('event')}, {_known('run_summary')} WITH KEY = {quoted(tag)}{condition}"


def quoted(name: str) -> str:
    """An identifier."""
    return f'"{name}"'


def _columns(columns: dict[str, str]) -> str:
    return ", ".join(f"{expression} AS {quoted(name)}" for name, expression in columns.items())


def _known(measurement: str) -> str:
    return quoted(SCHEMA[measurement].name)
