from __future__ import annotations

import json
from collections import Counter

import pytest

from harness.plan import describe, make_plan, profile_digest
from harness.profile import Profile, parse_profile


def plan_of(**tables):
    return make_plan(parse_profile(tables))


def test_load_is_split_between_the_directions():
    plan = plan_of(load={"rate": "200M", "frame": "512B", "server_packets_per_s": 0})
    assert plan.requests_per_s == 100_000_000 // (512 * 8) == 24_414
    assert plan.requests == 24_414 * 15
    assert plan.offered_bps == 200_000_000


def test_server_packets_cross_the_uplink_beside_the_load():
    plan = plan_of(load={"rate": "200M", "frame": "1000B", "server_packets_per_s": 100})
    assert plan.offered_bps == 200_000_000 + 100 * 8000
    assert plan.server_packets == 1500


def test_auto_snapshot_rate_is_nine_tenths_of_what_the_load_leaves():
    plan = plan_of(load={"rate": "600M", "server_packets_per_s": 0})
    assert plan.snapshot_rate_bps == 360_000_000
    assert plan_of(migration={"snapshot_rate": "unlimited"}).snapshot_rate_bps is None
    assert plan_of(migration={"snapshot_rate": "50Mbit"}).snapshot_rate_bps == 50_000_000


@pytest.mark.parametrize(("rate", "frame", "exceeds"), [("200M", "512B", False), ("600M", "1400B", True)])
def test_duplication_doubles_the_uplink_traffic(rate, frame, exceeds):
    plan = plan_of(load={"rate": rate, "frame": frame})
    assert 1.0 < plan.duplication_bps / plan.offered_bps < 1.1
    assert (plan.duplication_uplink_fraction > 1) is exceeds


def test_modes_are_interleaved_in_a_seeded_order():
    runs = plan_of(migration={"repetitions": 20}).runs
    assert [run.number for run in runs] == list(range(60))
    assert Counter(run.mode for run in runs) == {"none": 20, "statelet": 20, "duplication": 20}
    for repetition in range(20):
        block = runs[3 * repetition : 3 * repetition + 3]
        assert {run.repetition for run in block} == {repetition}
        assert len({run.mode for run in block}) == 3
        assert len({run.load_seed for run in block}) == 1
    orders = {tuple(run.mode for run in runs[i : i + 3]) for i in range(0, 60, 3)}
    assert len(orders) > 1
    assert len({run.load_seed for run in runs}) == 20
    assert plan_of(migration={"repetitions": 20}).runs == runs
    assert plan_of(migration={"repetitions": 20, "seed": 2}).runs != runs


def test_digest_is_of_what_is_measured():
    base = profile_digest(Profile())
    assert profile_digest(parse_profile({"profile": {"name": "x"}, "record": {"results": "/elsewhere"}})) == base
    assert profile_digest(parse_profile({"load": {"rate": "200Mbit"}})) == base
    assert profile_digest(parse_profile({"load": {"rate": "201M"}})) != base


def test_plan_is_json_and_text():
    profile = Profile()
    plan = make_plan(profile)
    assert json.loads(json.dumps(plan.document(), allow_nan=False))["runs"][0]["number"] == 0
    text = dict(describe(plan, profile))
    assert "both directions together" in text["offered load"]
    assert "42 header bytes" in text["offered load"]


def test_trace_is_the_larger_part_of_the_disk():
    traced, untraced = plan_of(), plan_of(dataplane={"verify": False})
    assert traced.disk_bytes - untraced.disk_bytes == 3 * 64 * (2 * traced.requests + traced.server_packets)


def test_the_default_profile_takes_less_than_90_s():
    assert plan_of().duration_ns < 90 * 10**9
