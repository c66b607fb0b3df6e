"""The table for people."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from harness.calibrate.calibration import Calibration
from harness.calibrate.figures import Figures, Spread
from harness.calibrate.table import HEADINGS, print_calibration, rows


def shown(figures: Figures) -> list[str]:
    out = io.StringIO()
    calibration = Calibration("smoke", "2026-01-01T00:00:00+00:00", 7_000_000_000, figures)
    print_calibration(calibration, Console(file=out, width=140, color_system=None))
    return out.getvalue().splitlines()


def test_one_row_per_figure(figures: Figures) -> None:
    made = list(rows(figures))
    assert {len(row) for row in made} == {len(HEADINGS)}
    assert made[0] == ("source", "towards the instance, rate", "1 Gbit/s", "1.003 Gbit/s", "", "", "14", "ok")
    assert made[1] == ("source", "round trip", "10.00 ms", "10.30 ms", "25.00 ms", "80.00 ms", "139", "ok")
    assert made[2] == ("source", "goodput", "1 Gbit/s", "940 Mbit/s", "", "", "1", "ok")
    path = "from the instance, paced TCP (cubic) beside UDP"
    assert made[3] == ("source", path, "1 Gbit/s", "975 Mbit/s", "", "", "1", "ok")
    assert made[4][1:4] == ("  TCP goodput", "475 Mbit/s", "455 Mbit/s")
    assert made[5][1:4] == ("  UDP, 17 of 8700 round trips lost", "500 Mbit/s", "499 Mbit/s")
    assert made[6][1:7] == ("  UDP round trip", "10.00 ms", "10.30 ms", "10.60 ms", "11.00 ms", "8683")


def test_loaded_and_impaired_paths_say_so(figures: Figures) -> None:
    loaded = replace(figures.latencies[0], load_bps=500_000_000, measured=Spread(9000, *(10_000_000,) * 4))
    impaired = replace(loaded, impairment="has IPDV on purpose")
    made = list(rows(replace(figures, latencies=(loaded, impaired), rates=(), transfer=None, competitions=())))
    assert made[0][1] == "round trip; 500 Mbit/s of load"
    assert [row[-1] for row in made] == ["ok", "has IPDV on purpose"]


def test_sound_links_need_no_further_line(figures: Figures) -> None:
    lines = shown(figures)
    assert lines[0].startswith("links of smoke: latency by delay_line, measured in 7.0 s")
    assert len(lines) == 2 + 3 + 4


def test_what_is_wrong_is_said_below_the_table(figures: Figures) -> None:
    broken = replace(figures.rates[0], measured_bps=700_000_000)
    unknown = replace(figures.rates[0], measured_bps=None, intervals=0, offered_bps=10_000_000)
    unseen = replace(figures.latencies[0], measured=None)
    lines = shown(replace(figures, rates=(broken, unknown), latencies=(unseen,)))
    assert [line.split()[-1] for line in lines[2:6]] == ["breach", "doubt", "breach", "ok"]
    assert [line.partition(":")[0] for line in lines[10:]] == ["breach", "breach", "doubt"]
