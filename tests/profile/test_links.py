from __future__ import annotations

import tomllib
from typing import Any

import pytest
import tomli_w

from harness.errors import ProfileError
from harness.plan import describe, make_plan
from harness.profile import Profile, parse_profile
from harness.profile.derived import snapshot_rate_bps
from harness.profile.link_conditions import base_rtt_ns, planned_steps, start_conditions
from harness.profile.topology import make_topology

MS, S = 1_000_000, 1_000_000_000
DOWN, UP = ("destination", "down"), ("destination", "up")


def parsed(links: dict[str, Any] | None = None, impairment: Any = (), **tables: Any) -> Profile:
    document: dict[str, Any] = {"load": {"rate": "20M"}, **tables}
    if links is not None:
        document["links"] = links
    if impairment != ():
        document["impairment"] = impairment
    return parse_profile(document)


def refusals(*arguments: Any, **named: Any) -> list[str]:
    with pytest.raises(ProfileError) as caught:
        parsed(*arguments, **named)
    assert caught.value.exit_code == 2
    return [line.removeprefix("profile: ") for line in str(caught.value).splitlines()]


def test_what_is_not_said_of_a_link_is_as_in_uplink_or_nothing() -> None:
    given = {"destination": {"down": {"loss": "0.1%", "ipdv": "0.5ms", "ipdv_distribution": "normal"}}}
    given["loadgen"] = {"up": {"latency": "1ms"}}
    profile = parsed(given, uplink={"rate": "500Mbit", "latency": "2ms"})
    conditions = start_conditions(profile)
    down, up = conditions[DOWN], conditions[UP]
    assert (down.loss, down.ipdv_ns, down.ipdv_distribution) == (0.001, 500_000, "normal")
    assert (down.rate_bps, down.latency_ns) == (up.rate_bps, up.latency_ns) == (500_000_000, 2 * MS)
    assert up == conditions["source", "up"]
    assert not up.is_impaired
    assert (conditions["loadgen", "up"].latency_ns, conditions["loadgen", "up"].rate_bps) == (MS, None)
    assert make_topology(profile, "abcdefg1").conditions == conditions
    assert base_rtt_ns(profile) == 4 * 2 * MS + MS


@pytest.mark.parametrize(
    ("text", "value"), [(0, 0.0), (1, 1.0), (0.25, 0.25), ("0.1%", 0.001), ("100 %", 1.0), ("12.5%", 0.125)]
)
def test_a_probability_is_a_number_or_a_share(text: object, value: float) -> None:
    assert parsed({"source": {"up": {"loss": text}}}).links.source.up.loss == value


@pytest.mark.parametrize(
    "text",
    [-0.1, 1.1, "101%", "-1%", "0.1", "%", "1e2%", "\uff11%", True, float("nan"), float("inf"), [], "9" * 99 + "%"],
)
def test_what_is_no_probability_is_refused(text: object) -> None:
    (line,) = refusals({"source": {"up": {"loss": text}}})
    assert line.startswith("links.source.up.loss: ")
    assert "probability" in line


@pytest.mark.parametrize(
    ("links", "words"),
    [
        ({"fabric": {}}, "links.fabric: unknown key"),
        ({"source": {"sideways": {}}}, "links.source.sideways: unknown key"),
        ({"source": {"up": {"losss": 1}}}, "links.source.up.losss: unknown key; did you mean links.source.up.loss?"),
        ({"source": {"up": 3}}, "links.source.up: must be a table"),
        (
            {"source": {"up": {"ipdv_distribution": "norm"}}},
            "links.source.up.ipdv_distribution: unknown value 'norm'; did",
        ),
        ({"source": {"up": {"rate": "1kbit"}}}, "links.source.up.rate: 1kbit is not between 1Mbit and 34Gbit"),
        ({"source": {"up": {"rate": "10Mbit"}}}, "links.source.up.rate: 10Mbit is less than the 20Mbit of load.rate"),
        ({"loadgen": {"up": {"rate": "9Mbit"}}}, "links.loadgen.up.rate: 9Mbit is less than the 10Mbit of load.rate"),
        ({"source": {"up": {"burst": "1us"}}}, "links.source.up.burst: 1us at 1Gbit is 125 bytes, less than one frame"),
        ({"source": {"up": {"queue_limit": "2kB"}}}, "links.source.up.queue_limit: 2kB must be more than 16384 bytes"),
        ({"source": {"up": {"latency": "2min"}}}, "links.source.up.latency: 120s is above 60s"),
        ({"source": {"up": {"latency": "8ms"}}}, "timing.late: 15ms is not above the base RTT of 21ms"),
        ({"loadgen": {"up": {"reordering": 0.1}}}, "links.loadgen.up.reordering: frames overtake others by skipping"),
    ],
)
def test_links_that_cannot_be_are_refused_with_the_key(links: dict[str, Any], words: str) -> None:
    assert any(line.startswith(words) for line in refusals(links)), refusals(links)


@pytest.mark.parametrize(
    ("impairment", "words"),
    [
        ({"link": "source", "rate": "1Gbit"}, "impairment[0].at: is missing"),
        ({"at": "1s"}, "impairment[0]: says nothing of what changes"),
        ({"at": "1s", "loss": 0.1}, "impairment[0].link: missing; 'set' needs one of loadgen, echoserver"),
        ({"at": "1s", "link": "moon", "loss": 0.1}, "impairment[0].link: unknown value 'moon'"),
        ({"at": "1s", "link": "source", "loss": 2}, "impairment[0].loss: 2 is out of range"),
        ({"at": "-1s", "link": "source", "loss": 0}, "impairment[0].at: '-1s' is negative"),
        ({"at": 1, "link": "source", "loss": 0}, "impairment[0].at: 1 has no unit"),
        ({"at": "1s", "for": "0s", "link": "source", "loss": 0}, "impairment[0].for: '0s' is out of range"),
        ({"at": "13s", "link": "source", "loss": 0}, "impairment[0].at: 13s is not before timing.load_until (13s)"),
        ({"at": "1s", "action": "explode"}, "impairment[0].action: unknown value 'explode'; known: set, down"),
        ({"at": "1s", "action": "down"}, "impairment[0].link: missing"),
        ({"at": "1s", "action": "down", "link": "source", "direction": "up"}, "impairment[0].direction: 'down' is not"),
        ({"at": "1s", "action": "down", "link": "source", "loss": 1}, "impairment[0].action: 'down' changes no cond"),
        ({"at": "1s", "action": "up", "link": "source", "for": "1s"}, "impairment[0].for: 'up' ends what 'down' began"),
        ({"at": "1s", "action": "partition", "link": "source"}, "impairment[0].link: 'partition' is not of a link"),
        ({"at": "1s", "action": "partition", "share": 0.5}, "impairment[0].share: is for the action 'cpu' only"),
        ({"at": "1s", "action": "cpu", "share": 0}, "impairment[0].share: 0 is no contention"),
        ({"at": "1s", "action": "cpu", "scheduler": "fifo"}, "impairment[0].share: 1 of a CPU under SCHED_FIFO leaves"),
        (
            {"at": "1s", "action": "cpu", "scheduler": "fifo", "share": 0.5, "nice": 1},
            "impairment[0].nice: has no mean",
        ),
        ({"at": "1s", "action": "cpu", "processes": 65}, "impairment[0].processes: "),
        ({"at": "1s", "action": "cpu", "nice": "low"}, "impairment[0].nice: must be a whole number, not 'low'"),
        ({"at": "1s", "link": "source", "rate": "2Mbit", "burst": "1ms"}, "impairment[0].burst: 1ms at 2Mbit is 250 b"),
        ({"at": "1s", "link": "loadgen", "reordering": 1}, "impairment[0].reordering: frames overtake others"),
        ({"at": "1s", "lnik": "source"}, "impairment[0].lnik: unknown key; did you mean impairment[0].link?"),
        (7, "impairment[0]: must be a table"),
    ],
)
def test_impairments_that_mean_nothing_are_refused_with_the_key(impairment: Any, words: str) -> None:
    found = refusals(impairment=[impairment])
    assert any(line.startswith(words) for line in found), found


@pytest.mark.parametrize("value", [3, "x", {"at": "1s"}, [[]], [None]])
def test_what_is_no_list_of_impairments_is_refused(value: Any) -> None:
    assert refusals(impairment=value)[0].startswith("impairment")


def test_too_many_impairments_are_refused() -> None:
    assert "impairment" in refusals(impairment=[{"at": "1s", "action": "partition"}] * 101)[0]


def step_rows(profile: Profile) -> list[tuple[int, str, dict[Any, Any]]]:
    return [
        (step.at_ns // MS, step.text, {key: item.rate_bps for key, item in step.conditions.items()})
        for step in planned_steps(profile)
    ]


def test_one_that_ends_leaves_what_was_before_and_what_was_laid_over_it() -> None:
    profile = parsed(
        impairment=[
            {"at": "1s", "for": "2s", "link": "destination", "direction": "up", "rate": "500Mbit"},
            {"at": "2s", "for": "2s", "link": "destination", "direction": "up", "loss": 0.5},
        ]
    )
    found = [(step.at_ns // S, step.is_restoration, step.conditions[UP]) for step in planned_steps(profile)]
    assert [(at, back, item.rate_bps // 1_000_000, item.loss) for at, back, item in found] == [  # type: ignore[operator]
        (1, False, 500, 0.0),
        (2, False, 500, 0.5),
        (3, True, 1000, 0.5),
        (4, True, 1000, 0.0),
    ]


def test_at_one_moment_what_ends_goes_before_what_begins() -> None:
    profile = parsed(
        impairment=[
            {"at": "2s", "for": "1s", "link": "source", "direction": "up", "rate": "300Mbit"},
            {"at": "1s", "for": "1s", "link": "source", "direction": "up", "rate": "200Mbit"},
        ]
    )
    assert [(at, rates["source", "up"] // 1_000_000) for at, _, rates in step_rows(profile)] == [
        (1000, 200),
        (2000, 1000),
        (2000, 300),
        (3000, 1000),
    ]


def test_a_link_comes_up_by_the_end_of_its_outage_or_by_name() -> None:
    down = {"at": "1s", "link": "source", "action": "down"}
    for more in ({**down, "for": "2s"},), (down, {"at": "3s", "link": "source", "action": "up"}):
        steps = planned_steps(parsed(impairment=list(more)))
        assert [(step.at_ns // S, step.links_up) for step in steps] == [(1, {"source": False}), (3, {"source": True})]
    assert make_topology(parsed(impairment=[down]), "abcdefg1").flapping == {"source"}


def test_what_lasts_beyond_the_load_is_put_back_by_the_end_of_the_run() -> None:
    profile = parsed(
        impairment=[
            {"at": "12s", "for": "2s", "action": "partition"},
            {"at": "12s", "for": "2s", "action": "cpu", "processes": 2, "share": "50%", "nice": 5},
        ]
    )
    steps = planned_steps(profile)
    assert [(step.text, step.isolated) for step in steps] == [
        ("source and destination partitioned", True),
        ("CPU contention: 2 at 50%, nice 5", None),
    ]
    assert steps[1].contention is not None
    assert steps[1].contention.duration_ns == S


def test_the_effective_profile_says_what_was_said_and_parses_back() -> None:
    profile = parsed(
        {"destination": {"down": {"loss": "0.1%", "ipdv": "0.5ms"}}},
        [{"at": "8s", "for": "2s", "link": "destination", "rate": "100Mbit"}, {"at": "9s", "action": "partition"}],
    )
    document = profile.document()
    assert document["links"] == {"destination": {"down": {"loss": 0.001, "ipdv": "500us"}}}
    assert parse_profile(tomllib.loads(tomli_w.dumps(document))) == profile
    assert not {"links", "impairment"} & set(parsed().document()), "digests of other profiles stay what they were"


def test_the_plan_tells_the_timeline_and_the_links() -> None:
    profile = parsed(
        {"destination": {"down": {"loss": "0.1%"}}},
        [{"at": "8s", "for": "2s", "link": "destination", "direction": "up", "rate": "100Mbit"}],
    )
    plan = make_plan(profile)
    shown = [(label, text) for label, text in describe(plan, profile) if label in ("link", "impairment")]
    assert shown == [
        ("link", "destination down: loss 0.001"),
        ("impairment", "s+8s destination up: rate 100Mbit"),
        ("impairment", "s+10s end of destination up: rate 100Mbit"),
    ]
    assert [step.at_ns for step in plan.impairments] == [8 * S, 10 * S]


def test_an_automatic_snapshot_rate_fits_the_narrower_of_the_two_links() -> None:
    narrow = {"destination": {"down": {"rate": "100Mbit"}}}
    assert snapshot_rate_bps(parsed(narrow)) == 90_000_000
    assert snapshot_rate_bps(parsed({"destination": {"up": {"rate": "100Mbit"}}})) == snapshot_rate_bps(parsed())
