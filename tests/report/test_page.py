"""`harness report`: the files it writes, what the page says, what it refuses; hostile names stay text."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness import cli
from harness.record.sweep import read_results
from harness.report import page
from harness.report.document import make_report
from harness.report.figures.registry import pictures
from harness.report.hostile import shown
from tests.report.sweep_builder import SweepBuilder, cell

VOID = {"meta", "img", "br"}
HOSTILE = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Elements with their attributes, and whether every one that was opened was closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.balanced = True
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.balanced &= bool(self.open) and self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are not drawn: that takes seconds, and is looked at in tests of its own."""
    monkeypatch.setattr(page, "draw", lambda picture: (b"png", b"<svg/>"))


@pytest.fixture
def sweep(tmp_path):
    return SweepBuilder(tmp_path, [cell()], repetitions=2).fill()


def run(*arguments: object) -> int:
    return cli.invoke(["report", *map(str, arguments)])


def test_the_report_is_drawn_and_needs_nothing_but_itself(tmp_path, capsys):
    sweep = SweepBuilder(tmp_path, [cell()], modes=("statelet",), repetitions=1).fill()
    assert run(sweep.path) == 0
    output = sweep.path / "report"
    text = (output / "report.html").read_text(encoding="utf-8")
    found = Page(text)
    assert found.balanced
    assert found.open == []
    images = found.named("img")
    assert images
    assert all((image["src"] or "").startswith("data:image/svg+xml;base64,") for image in images)
    assert all(image["alt"] for image in images)
    assert not {"script", "link", "iframe", "object"} & {name for name, _ in found.elements}
    for link in found.named("a"):
        target = link["href"] or ""
        assert target.startswith("#") or (output / target).is_file()
    for picture in (output / "figures").glob("*.svg"):
        assert ElementTree.parse(picture).getroot().tag.endswith("svg")
        assert picture.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        assert picture.with_suffix(".csv").read_text().startswith("panel,line,mode")
    assert str(output / "report.html") in capsys.readouterr().out


def test_anchors_lead_somewhere_and_every_scrolling_table_is_reachable(undrawn, sweep):
    assert run(sweep.path) == 0
    found = Page((sweep.path / "report" / "report.html").read_text(encoding="utf-8"))
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {(a["href"] or "")[1:] for a in found.named("a") if (a["href"] or "").startswith("#")} <= set(ids)
    regions = [a for a in found.named("div") if a.get("class") == "scroll"]
    assert regions
    assert all(region.get("tabindex") == "0" and region.get("aria-label") for region in regions)


def test_the_order_of_the_page(undrawn, sweep):
    assert run(sweep.path) == 0
    text = (sweep.path / "report" / "report.html").read_text(encoding="utf-8")
    titles = re.findall(r"<h2[^>]*>([^<]+)</h2>", text)
    assert titles == [
        "What was run",
        "Headline",
        "Figures",
        "Around the migration",
        "Claims of the paper",
        "Beside the model",
        "Runs that are not VALID",
        "Differences from the paper",
        "Definitions",
    ]
    assert text.index("Fig. 11:") < text.index("Fig. 13:") < text.index("Fig. 18:")


def test_names_from_files_stay_text(undrawn, tmp_path):
    hostile = cell(image=HOSTILE)
    sweep = SweepBuilder(tmp_path, [hostile], modes=("none", HOSTILE), repetitions=1).fill()
    sweep.add(hostile, "../../x", 1, verdict="FAILED", outcome="failed", reason=f"{HOSTILE}\n\x00")
    (sweep.path / "sweep.toml").write_text(f"# {HOSTILE}")
    assert run(sweep.path) == 0
    output = sweep.path / "report"
    found = Page((output / "report.html").read_text(encoding="utf-8"))
    assert not found.named("script")
    assert HOSTILE in found.text
    names = [path.name for path in (output / "figures").iterdir()]
    assert names
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names)


def test_hostile_names_can_be_drawn(tmp_path):
    hostile = "$\\frac{$ 漢 \x1b[31m \x00\n_" + "x" * 5000
    sweep = SweepBuilder(tmp_path, [cell()], modes=("statelet",), repetitions=1).fill()
    picture = make_report(read_results(sweep.path), over_time=lambda _: False).pictures.drawings[0].picture
    (panel,) = picture.panels
    panel = replace(panel, title=hostile, lines=tuple(replace(line, label=hostile) for line in panel.lines))
    png, svg = page.draw(replace(picture, title=hostile, panels=(panel,)))
    assert png.startswith(b"\x89PNG")
    ElementTree.fromstring(svg)


@pytest.mark.parametrize("folder", ["runs/a\x00b", "../elsewhere", "runs/" + "x" * 5000])
def test_a_folder_that_cannot_be_is_one_line_or_damage(undrawn, sweep, capsys, folder):
    entries = sweep.path / "runs.jsonl"
    first = json.loads(entries.read_text().splitlines()[0])
    entries.write_text(entries.read_text() + json.dumps({**first, "folder": folder, "key": "k"}) + "\n")
    assert run(sweep.path) in (0, 2)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert ("damaged" in captured.out) != (captured.err.count("\n") == 1)


def test_equal_results_give_equal_pictures(tmp_path):
    sweep = SweepBuilder(tmp_path, [cell()], modes=("statelet",), repetitions=1).fill()
    picture = make_report(read_results(sweep.path)).pictures.drawings[0].picture
    assert page.draw(picture) == page.draw(picture)


def test_damaged_and_invalid_runs_are_listed_and_the_rest_reported(undrawn, sweep, capsys):
    sweep.add(cell(), "statelet", 3, verdict="INVALID")
    torn = sweep.add(cell(), "duplication", 3)
    (torn / "summary.json").write_text('{"run_id": "x", "schema')
    assert run(sweep.path, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["runs"] == {"VALID": 5, "FAILED": 0, "INVALID": 1, "damaged": 1}
    kinds = {problem["kind"]: problem for problem in document["problems"]}
    assert "the reason of the test" in kinds["INVALID"]["reasons"][0]
    assert "summary.json" in kinds["damaged"]["reasons"][0]
    text = (sweep.path / "report" / "report.html").read_text(encoding="utf-8")
    assert "the reason of the test" in text


def test_results_without_a_usable_run_are_reported_as_such(undrawn, tmp_path, capsys):
    sweep = SweepBuilder(tmp_path, [cell()])
    (sweep.add(cell(), "statelet", 1) / "summary.json").unlink()
    assert run(sweep.path) == 0
    out = capsys.readouterr().out
    assert "1 damaged" in out
    assert "Fig. 11, seconds of loss, nat (needs" in out


def test_a_number_beyond_any_measurement_is_damage(undrawn, sweep, capsys):
    summary = sweep.written[0] / "summary.json"
    data = json.loads(summary.read_text())
    data["window"]["loss_s"] = 1e300
    summary.write_text(json.dumps(data))
    assert run(sweep.path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["runs"]["damaged"] == 1


def test_the_figures_in_the_document(undrawn, sweep, capsys):
    assert run(sweep.path, "--json", "--over-time", "none") == 0
    document = json.loads(capsys.readouterr().out)
    assert {figure["number"] for figure in document["figures"]} == {11, 13, 14, 15, 17, 18, None}
    assert {entry["number"] for entry in document["not_in_these_results"]} == {12, 16}
    assert all({"text", "paper_value", "measured", "verdict"} <= set(claim) for claim in document["claims"])


def test_headline_compares_the_modes(undrawn, tmp_path):
    figures = lambda _, mode, repetition: {"loss_s": (mode == "duplication") + repetition / 100}  # noqa: E731
    sweep = SweepBuilder(tmp_path, [cell()], repetitions=4).fill(figures)
    (table,) = make_report(read_results(sweep.path)).tables
    row = next(row for row in table.bodies[0].rows if row.title.startswith("seconds of loss"))
    # Mann and Whitney (1947): 4 against 4, wholly apart: 2 / 70
    assert row.difference == "p = 0.029, δ = +1.00"
    assert row.entries[-1].text == "1.0250 ± 0.0205"


@pytest.mark.parametrize(("repetitions", "given"), [(4, False), (6, True)])
def test_skewed_figures_have_a_bootstrap_interval_from_five_runs_on(undrawn, tmp_path, capsys, repetitions, given):
    figures = lambda _, mode, repetition: {"loss_s": 0.5 if repetition == 2 else 0.0}  # noqa: E731
    sweep = SweepBuilder(tmp_path, [cell()], repetitions=repetitions).fill(figures)
    assert run(sweep.path, "--json") == 0
    headline = {(e["metric"], e["mode"]): e for e in json.loads(capsys.readouterr().out)["headline"]}
    loss, duration = headline["window.loss_s", "statelet"], headline["migration.duration_s", "statelet"]
    assert loss["n"] == repetitions
    assert (loss["bca_high"] is not None) == given
    assert duration["bca_high"] is None
    page = (sweep.path / "report" / "report.html").read_text()
    assert ("BCa [" in page) == given
    assert "9,999 resamples, seeded" in page
    if given:
        (figure,) = [made.picture for made in pictures(read_results(sweep.path)).drawings if made.picture.number == 11]
        # One large value among zeroes: Student's interval reaches below what can be, this one does not.
        assert loss["mean"] - loss["student_t_half_width"] < 0 <= loss["bca_low"] <= loss["mean"] < loss["bca_high"]
        rows = csv.DictReader(io.StringIO(figure.csv()))
        ends = next((float(row["bca_low"]), float(row["bca_high"])) for row in rows if row["mode"] == "statelet")
        assert ends == (loss["bca_low"], loss["bca_high"])


def test_runs_planned_and_done(undrawn, sweep):
    report = make_report(read_results(sweep.path))
    assert report.planned == 1 + 2 + 2
    assert (report.completed, report.migrations) == (4, 4)


def test_an_experiment_and_a_run_are_reported_too(undrawn, sweep):
    for path in (sweep.written[0], sweep.written[1]):
        assert run(path, "--output", sweep.path / f"of-{path.name}") == 0
        assert (sweep.path / f"of-{path.name}" / "report.html").is_file()


def test_a_cell_can_be_chosen_for_the_figure_over_time(undrawn, tmp_path, capsys):
    sweep = SweepBuilder(tmp_path, [cell(load_m=100), cell(load_m=300)], modes=("statelet",), repetitions=1).fill()
    assert run(sweep.path, "--over-time", "nat, 1400 B, 300M", "--json") == 0
    names = [figure["name"] for figure in json.loads(capsys.readouterr().out)["figures"]]
    assert [name for name in names if name.startswith("over-time")] == ["over-time-nat-1400-B-300M"]
    assert run(sweep.path, "--over-time", "nat, 9 B, 300M") == 2
    assert "there are: nat, 1400 B, 100M; nat, 1400 B, 300M" in capsys.readouterr().err


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_earlier_report_is_replaced(undrawn, sweep):
    assert run(sweep.path) == 0
    sweep.add(cell(), "statelet", 3, verdict="FAILED")
    assert run(sweep.path) == 0
    names = [path.name for path in (sweep.path / "report" / "figures").iterdir()]
    assert "fig-11-nat-loss-with-failed.png" in names
    assert "fig-11-nat-loss.png" not in names
    assert [path.name for path in sweep.path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["notes.txt", "figures/mine.png", "report.html"])
def test_what_is_not_of_a_report_or_was_changed_is_never_overwritten(undrawn, sweep, capsys, name):
    assert run(sweep.path) == 0
    (sweep.path / "report" / name).write_text("mine")
    before = snapshot(sweep.path)
    assert run(sweep.path) == 2
    error = capsys.readouterr().err
    assert name in error
    assert error.count("\n") == 1
    assert snapshot(sweep.path) == before


def test_the_results_themselves_are_no_place_for_a_report(undrawn, sweep):
    before = snapshot(sweep.path)
    assert run(sweep.path, "--output", sweep.path) == 2
    assert snapshot(sweep.path) == before


def test_a_link_is_not_followed(undrawn, sweep, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "link").symlink_to(elsewhere)
    assert run(sweep.path, "--output", tmp_path / "link") == 2
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("given", ["nowhere", "."])
def test_no_results_no_report(tmp_path, capsys, given):
    assert run(tmp_path / given) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_text_is_cut_to_one_printable_line():
    assert shown("a\nb\x00") == "a?b?"
    assert shown("x" * 100, 10) == "xxxxxxxxx…"
