from __future__ import annotations

from typing import Any

import pytest

from harness.experiment.impairment_summary import (
    contends,
    described_links,
    expected_base_rtt,
    impairment_summaries,
    judged_run_delays,
)
from harness.experiment.impairments import ImpairmentRecord
from harness.experiment.timeline import Carried, Entry
from harness.measure.host import HostLoad, ProcessLoad
from harness.profile import Profile, parse_profile

MS = 1_000_000


def parsed(**tables: Any) -> Profile:
    return parse_profile({"load": {"rate": "20M"}, "timing": {"late": "60ms"}, **tables})


def of_source(**conditions: Any) -> Profile:
    return parsed(links={"source": {"down": conditions}})


@pytest.mark.parametrize(
    ("profile", "backend", "expected"),
    [
        (parsed(), "delay_line", (10 * MS, 0)),
        (parsed(), "none", (None, 0)),
        (parsed(uplink={"latency": "0s"}), "none", (None, 0)),
        (of_source(latency="3ms"), "netem", (11 * MS, 0)),
        (parsed(links={"loadgen": {"up": {"latency": "3ms"}}}), "netem", (13 * MS, 0)),
        (parsed(links={"destination": {"up": {"latency": "3ms"}}}), "netem", (10 * MS, 0)),
        (of_source(ipdv="1ms"), "netem", (10 * MS, 0)),
        (of_source(ipdv="1ms", ipdv_distribution="normal"), "netem", (10 * MS, 0)),
        (of_source(ipdv="1ms", ipdv_distribution="pareto"), "netem", (10 * MS, 2 * MS)),
        (of_source(ipdv="4ms"), "netem", (10 * MS, 8 * MS)),
        (of_source(reordering=0.1), "netem", (10 * MS, 0)),
        (of_source(reordering=0.2), "netem", (None, 0)),
    ],
)
def test_a_base_rtt_is_judged_by_what_was_asked_of_the_links(
    profile: Profile, backend: str, expected: tuple[int | None, int]
) -> None:
    assert expected_base_rtt(profile, backend) == expected


def test_instances_may_wait_for_a_cpu_when_others_are_to_compete_for_it() -> None:
    load = ProcessLoad(cpu_fraction=0.1, run_delay_fraction=0.4, resident_bytes=1)
    host = HostLoad(1, 0.0, 0.0, {"source": load, "loadgen": load})
    competing = parsed(impairment=[{"at": "1s", "action": "cpu"}])
    assert (contends(parsed()), contends(competing)) == (False, True)
    assert judged_run_delays(parsed(), host) == {"source": 0.4, "loadgen": 0.4}
    assert judged_run_delays(competing, host) == {"loadgen": 0.4}


def test_what_was_done_is_listed_with_its_times_and_what_failed() -> None:
    entry = Entry(1_500, "link of source down", lambda: "")
    record = ImpairmentRecord((Carried(entry, 1_700, 2_000, "done"), Carried(entry, 1_500, 1_500, "", "no such link")))
    done, failed = impairment_summaries(record, 1_000)
    assert (done.at_ns, done.text, done.late_ns, done.duration_ns, done.error) == (500, entry.name, 200, 300, None)
    assert failed.error == "no such link"


def test_links_are_told_as_the_profile_gives_them() -> None:
    assert described_links(of_source(loss="0.1%", latency="3ms")) == {"source down": "latency 3ms, loss 0.001"}
    assert described_links(parsed()) == {}
