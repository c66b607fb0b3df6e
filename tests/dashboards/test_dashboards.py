from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.interpolation import Query, queries
from dashboards.registry import FOLDER, documents
from harness.record.schema import SCHEMA

NAMES = sorted(path.name for path in FOLDER.glob("*.json"))


def dashboard(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def selections(name: str) -> list[Query]:
    return [query for query in queries(dashboard(name)) if query.text.startswith("SELECT")]


def test_generating_again_changes_nothing() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == documents()


def test_the_three_dashboards_are_there() -> None:
    assert {dashboard(name)["title"] for name in NAMES} == {"Experiment", "Comparison", "Sweep history"}
    assert len({dashboard(name)["uid"] for name in NAMES}) == len(NAMES)
    for name in NAMES:
        assert len(selections(name)) >= 8
        assert len(list(queries(dashboard(name)))) >= len(selections(name)) + 2


@pytest.mark.parametrize("name", NAMES)
def test_queries_name_what_the_schema_has(name: str) -> None:
    for query in selections(name):
        (measurement,) = re.findall(r'FROM "(\w+)"', query.text)
        schema = SCHEMA[measurement]
        columns, _, rest = query.text.partition(" FROM ")
        asked = re.findall(r'"(\w+)"', re.sub(r' AS "[^"]*"', "", columns)) + re.findall(r'"(\w+)"', rest)[1:]
        known = {*schema.tags, *(field.name for field in schema.fields)}
        assert set(asked) <= known, (query.where, set(asked) - known)


@pytest.mark.parametrize("name", NAMES)
def test_a_tag_in_the_name_of_a_series_is_one_it_is_grouped_by(name: str) -> None:
    for query in selections(name):
        grouped = re.findall(r'"(\w+)"', query.text.partition(" GROUP BY ")[2])
        assert set(re.findall(r"\$tag_(\w+)", query.alias)) <= set(grouped), query.where
        if "time($__interval)" in query.text:
            # Else several series would have one name.
            assert set(re.findall(r"\$tag_(\w+)", query.alias)) == set(grouped), query.where
            assert "$col" in query.alias or query.text.count(" AS ") == 1, query.where


@pytest.mark.parametrize("name", NAMES)
def test_every_data_source_is_the_chosen_one_and_panels_do_not_overlap(name: str) -> None:
    document = dashboard(name)
    assert document["templating"]["list"][0]["type"] == "datasource"
    taken: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        assert panel["datasource"] == {"type": "influxdb", "uid": "${datasource}"}
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells


@pytest.mark.parametrize("name", NAMES)
def test_panels_have_numbers_of_their_own_and_say_their_units(name: str) -> None:
    panels = dashboard(name)["panels"]
    assert sorted(panel["id"] for panel in panels) == list(range(1, len(panels) + 1))
    for panel in panels:
        overrides = [p["id"] for o in panel["fieldConfig"]["overrides"] for p in o["properties"]]
        assert panel["fieldConfig"]["defaults"].get("unit") or "unit" in overrides, panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_the_model_of_a_dashboard_reads_the_file_whole(name: str) -> None:
    read = Dashboard.from_json(dashboard(name))
    assert json.loads(json.dumps(read, cls=JSONEncoder)) == dashboard(name)


def test_the_files_beside_them_are_there() -> None:
    folder = Path(FOLDER).parent
    for name in ("compose.yaml", "provisioning/datasources/influxdb.yaml", "provisioning/dashboards/harness.yaml"):
        assert (folder / name).is_file()
