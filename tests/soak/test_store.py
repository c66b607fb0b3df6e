"""The results of a soak: written line by line, read again, shown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.errors import UsageError
from harness.profile import load_profile
from harness.record.summary import AttemptSummary, FaultSummary
from harness.soak.soak import Soak
from harness.soak.store import RESULTS, CheckedPromise, SoakEntry, append_entry, read_entries
from harness.soak.surroundings import Traces, deadline_ns, left_behind
from harness.soak.table import line, promises_table, summary_table

ROOT = Path(__file__).resolve().parents[2]


def entry(number: int, verdict: Any = "kept", begun: bool = True) -> SoakEntry:
    fault = FaultSummary(
        fault="kill destination at snapshot",
        target="destination",
        action="kill",
        when="snapshot",
        state="over" if begun else "not reached",
        attempt=1,
        begun_ns=5 if begun else None,
    )
    return SoakEntry(
        number=number,
        seed=number + 1,
        profile_digest="d",
        mode="statelet",
        faults=(fault,),
        attempts=(
            AttemptSummary(epoch=1, outcome="aborted", started_ns=1, ended_ns=2),
            AttemptSummary(epoch=2, outcome="completed", moved=True, started_ns=3, ended_ns=4),
        ),
        validity="VALID",
        reasons=(),
        promises=(CheckedPromise(name="in time", verdict=verdict, detail="2 s of at most 1 s"),),
        verdict=verdict,
        took_s=4.25,
    )


def test_entries_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / RESULTS
    assert read_entries(path) == []
    entries = [entry(0), entry(1, "broken"), entry(2, "unknown", begun=False)]
    for item in entries:
        append_entry(path, item)
    assert read_entries(path) == entries


def test_a_line_that_was_cut_off_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / RESULTS
    append_entry(path, entry(0))
    with path.open("ab") as file:
        file.write(b'{"number": 1, "se')
    assert read_entries(path) == [entry(0)]
    append_entry(path, entry(1))
    assert read_entries(path) == [entry(0), entry(1)]


def test_other_files_and_other_soaks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / RESULTS
    path.write_text("hello\n")
    with pytest.raises(UsageError, match="not the results of a soak"):
        read_entries(path)
    path.unlink()
    append_entry(path, entry(0))
    profile = load_profile(ROOT / "profiles" / "soak.toml")
    with pytest.raises(UsageError, match="of another seed or profile"):
        Soak(profile, 5, 1, tmp_path, lambda _line: None).carry_out()


def test_a_line_says_what_happened_and_what_was_not_kept() -> None:
    assert line(entry(3), 9) == (
        "4/9 seed 4 statelet: kill destination at snapshot: aborted, completed; VALID; kept (4.2 s)"
    )
    broken = line(entry(0, "broken", begun=False), 1).splitlines()
    assert "kill destination at snapshot (not reached)" in broken[0]
    assert broken[1] == "    in time: broken (2 s of at most 1 s)"


def test_tables_count_schedules_and_promises() -> None:
    with Path(os.devnull).open("w") as nowhere:
        console = Console(width=140, record=True, file=nowhere)
        console.print(summary_table([entry(0), entry(1, "broken"), entry(2, begun=False)]))
        console.print(promises_table([entry(0), entry(1, "broken")]))
    rows = [[cell.strip() for cell in row.split("│")[1:-1]] for row in console.export_text().splitlines()]
    assert ["snapshot", "kill", "destination", "2", "2", "", "", "1", "", "1"] in rows
    assert ["not reached", "kill", "destination", "1", "1", "", "", "1", "", ""] in rows
    assert ["in time", "1", "0", "1"] in rows


def test_what_is_left_behind_is_named() -> None:
    before = Traces(frozenset({1}), frozenset(), 10, frozenset({("02:00:00:00:02:0c", "destination")}))
    assert left_behind(before, before) == ()
    after = Traces(frozenset({1, 7}), frozenset({"relay 5"}), 40, frozenset())
    assert left_behind(before, after) == (
        "process 7",
        "thread relay 5",
        "30 more open files",
        "nothing is forwarded to 02:00:00:00:02:0c",
    )


def test_the_deadline_covers_every_attempt() -> None:
    profile = load_profile(ROOT / "profiles" / "soak.toml")
    once = deadline_ns(profile)
    assert deadline_ns(profile.with_drawn_faults(4)) > once
    longer = load_profile(ROOT / "profiles" / "soak.toml", ["migration.deadlines.drain=7s"])
    assert deadline_ns(longer) - once == 5_000_000_000
