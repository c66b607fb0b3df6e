"""What the dashboards have in common: variables, annotations, panels of one style."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import barchart, dashboard, table, timeseries, xychart
from grafana_foundation_sdk.builders.common import GraphThresholdsStyleConfig
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.builders.xychart import XychartFieldConfigPointSize
from grafana_foundation_sdk.models.common import GraphDrawStyle, GraphThresholdsStyleMode, VisibilityMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.xychart import SeriesMapping, XYShowMode

from dashboards.query import DATASOURCE, VARIABLES, Annotations, InfluxQl, tag_values, where
from harness.record.schema import SCHEMA

WIDTH = 24
HEIGHT = 8
LOAD = "offered_bps"
UNITS = {
    "ns": "ns",
    "s": "s",
    "bytes": "bytes",
    "bit/s": "bps",
    "packets": "short",
    "runs": "short",
    "1": "percentunit",
}
"""Grafana's name of a unit of the schema."""


def base(title: str, uid: str, description: str, since: str, variables: Sequence[str]) -> dashboard.Dashboard:
    """A dashboard with the choice of a data source and of runs."""
    made = dashboard.Dashboard(title).uid(uid).description(description).tags(["slim-harness"]).readonly()
    made = made.time(since, "now").timezone("utc").tooltip(DashboardCursorSync.CROSSHAIR)
    made = made.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("influxdb"))
    earlier: list[str] = []
    for name in variables:
        made = made.with_variable(_variable(name, tuple(earlier)))
        earlier.append(name)
    return made


def _variable(name: str, earlier: tuple[str, ...]) -> dashboard.QueryVariable:
    made = dashboard.QueryVariable(name).label(name.capitalize()).datasource(DATASOURCE)
    made = made.query(tag_values(VARIABLES[name], *earlier)).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    made = made.sort(VariableSort.ALPHABETICAL_ASC).multi(True).include_all(True).all_value(".*")
    return made.current(VariableOption(selected=True, text=["All"], value=["$__all"]))


def phases() -> dashboard.AnnotationQuery:
    """The phases of migrations as annotations."""
    query = f'SELECT "text", "phase", "mode" FROM "event" WHERE {where()}'
    made = dashboard.AnnotationQuery().name("Phases").datasource(DATASOURCE).enable(True).icon_color("blue")
    return made.target(Annotations(query, "text", ("phase", "mode")))


def lines(
    title: str,
    targets: Sequence[InfluxQl],
    unit: str,
    description: str = "",
    *,
    width: int = WIDTH // 2,
    dots: bool = False,
    limit: float | None = None,
    signed: bool = False,
) -> timeseries.Panel:
    """A panel over time. dots: single points, for what is not continuous. limit: a line to read the values against, in
    the panel's unit. signed: values may be below zero.
    """
    made = timeseries.Panel().title(title).description(description).datasource(DATASOURCE).unit(UNITS[unit])
    made = made.span(width).height(HEIGHT).interval("100ms").line_width(1).fill_opacity(5)
    if not signed:
        made = made.min(0)
    if limit is not None:
        steps = [Threshold(value=None, color="transparent"), Threshold(value=limit, color="red")]
        made = made.thresholds(ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        made = made.thresholds_style(GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.LINE))
    made = made.draw_style(GraphDrawStyle.POINTS).point_size(6) if dots else made.show_points(VisibilityMode.AUTO)
    for target in targets:
        made = made.with_target(target)
    return made


def bars(title: str, target: InfluxQl, unit: str, description: str = "", *, width: int = WIDTH // 3) -> barchart.Panel:
    """A bar per row of a table, named by its column `mode`."""
    made = barchart.Panel().title(title).description(description).datasource(DATASOURCE).unit(UNITS[unit])
    made = made.span(width).height(HEIGHT).min(0).x_field("mode").with_transformation(without_time())
    return made.with_target(target)


def over_load(title: str, target: InfluxQl, unit: str, description: str = "") -> xychart.Panel:
    """A point per run over its offered load, a colour per mode. The target's columns: time, mode, load, figure."""
    made = xychart.Panel().title(title).description(description).datasource(DATASOURCE).unit(UNITS[unit])
    made = made.span(WIDTH // 3).height(HEIGHT).mapping(SeriesMapping.AUTO).show(XYShowMode.POINTS)
    made = made.point_size(XychartFieldConfigPointSize().fixed(6))
    made = made.with_transformation(without_time()).with_transformation(
        DataTransformerConfig(id_val="partitionByValues", options={"fields": ["mode"], "keepFields": False})
    )
    made = made.override_by_name(LOAD, [DynamicConfigValue(id_val="unit", value=UNITS["bit/s"])])
    return made.with_target(target)


def rows_panel(
    title: str, target: InfluxQl, fields: Sequence[str], *, keep_time: bool, height: int = HEIGHT
) -> table.Panel:
    """A table whose columns have the units of these fields of `run_summary`."""
    made = table.Panel().title(title).datasource(DATASOURCE).span(WIDTH).height(height).with_target(target)
    if not keep_time:
        made = made.with_transformation(without_time())
    units = {field.name: field.unit for field in SCHEMA["run_summary"].fields}
    for name in fields:
        if units.get(name) in UNITS:
            made = made.override_by_name(name, [DynamicConfigValue(id_val="unit", value=UNITS[units[name]])])
    return made


def without_time() -> DataTransformerConfig:
    """Leaves out the time, which is the start of the range for a figure over all of it."""
    return DataTransformerConfig(id_val="organize", options={"excludeByName": {"Time": True, "time": True}})
