from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.sweep.load import load_sweep
from harness.sweep.matrix import nominal_cells, plan_of, scale_cells
from harness.sweep.order import SweepRun

HEAD = '[sweep]\nprofile = "smoke.toml"\nmodes = ["statelet"]\n'


def cells_of(path):
    return nominal_cells(load_sweep(path))


def test_the_product_of_profiles_and_axes(sweep_file, tmp_path):
    (tmp_path / "other.toml").write_text('[vnf]\nimage = "nat"\n[load]\nflows = 16\nnew_flows_per_s = 0\n')
    cells = cells_of(
        sweep_file(
            '[sweep]\nprofiles = ["smoke.toml", "other.toml"]\nmodes = ["statelet"]\n'
            '[set]\n"timing.warm_up" = "1s"\n[matrix]\n"load.rate" = ["10M", "20M"]\n"load.frame" = ["512B", "1400B"]\n'
        )
    )
    found = {(c.profile.name, c.profile.load.rate_bps, c.profile.load.frame_bytes) for c in cells}
    assert found == {(n, r, f) for n in ("smoke", "other") for r in (10**7, 2 * 10**7) for f in (512, 1400)}
    assert {cell.profile.timing.warm_up_ns for cell in cells} == {10**9}
    assert len({cell.digest for cell in cells}) == len(cells) == 8
    assert cells[0].title == "profile=smoke.toml load.rate=10M load.frame=512B"
    assert cells[0].document().settings == {"load.rate": "10M", "load.frame": "512B"}


def test_only_and_exclude(sweep_file):
    axes = '[matrix]\n"load.rate" = ["10M", "20M", "30M"]\n"load.frame" = ["512B", "1400B"]\n'
    chosen = '[[only]]\n"load.rate" = ["10M", "20M"]\n[[exclude]]\n"load.rate" = "20M"\n"load.frame" = "512B"\n'
    titles = [cell.title for cell in cells_of(sweep_file(HEAD + axes + chosen))]
    assert titles == [
        "load.rate=10M load.frame=512B",
        "load.rate=10M load.frame=1400B",
        "load.rate=20M load.frame=1400B",
    ]


def test_the_digest_leaves_modes_and_repetitions_out(sweep_file):
    (one,) = cells_of(sweep_file(HEAD))
    (two,) = cells_of(sweep_file(HEAD.replace('"statelet"', '"duplication"') + "repetitions = 9\n"))
    assert one.digest == two.digest


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('[matrix]\n"load.rat" = ["10M", "20M"]\n', ["cell load.rat=10M and 1 more: load.rat: unknown key; did"]),
        ('[set]\n"vnf.image" = "natt"\n', ["profile=smoke.toml: vnf.image: unknown image 'natt'; did you mean nat?"]),
        (
            '[set]\n"uplink.queue_limit" = "10kB"\n',
            ["cell profile=smoke.toml: uplink.queue_limit: 10kB must be more than 16384 bytes"],
        ),
        ('[set]\n"load.rate.x" = 1\n', ["load.rate.x: load.rate is a value, not a table"]),
        (
            '[matrix]\n"load.rate" = ["10M", "2G", "10Mbit"]\n',
            [
                "cell load.rate=2G: load.rate: 2Gbit is above uplink.rate",
                "cell load.rate=10Mbit: the same as cell load.rate=10M",
            ],
        ),
        ('[matrix]\n"load.rate" = ["10M", "10M"]\n', ["cell load.rate=10M: the same as cell load.rate=10M"]),
        (
            '[matrix]\n"load.rate" = ["10M"]\n[[exclude]]\n"load.rate" = "10M"\n',
            ["empty matrix: [[only]] and [[exclude]] leave no cell"],
        ),
    ],
)
def test_every_mistake_names_its_cell(sweep_file, text, lines):
    path = sweep_file(HEAD + text)
    with pytest.raises(UsageError) as raised:
        cells_of(path)
    found = str(raised.value).splitlines()
    assert len(found) == len(lines)
    for line, expected in zip(found, lines, strict=True):
        assert line.startswith(f"{path}: ")
        assert expected in line


def test_a_profile_that_is_not_there(sweep_file):
    with pytest.raises(UsageError, match=r"sweep\.profiles: .*smok\.toml: No such file.*did you mean smoke\.toml\?"):
        cells_of(sweep_file(HEAD.replace("smoke.toml", "smok.toml")))


def test_scaled_cells_keep_their_nominal_axis(sweep_file):
    file = load_sweep(sweep_file(HEAD))
    (cell,) = scale_cells(file, nominal_cells(file), 0.5)
    document = cell.document()
    assert (document.load_bps, document.nominal_load_bps) == (10**7, 2 * 10**7)
    assert (document.uplink_bps, document.nominal_uplink_bps) == (5 * 10**8, 10**9)


def test_a_scale_that_leaves_nothing_names_the_cell(sweep_file):
    file = load_sweep(sweep_file(HEAD))
    with pytest.raises(UsageError, match=r"cell profile=smoke\.toml \(scaled by 0\.001\)"):
        scale_cells(file, nominal_cells(file), 0.001)


def test_the_load_of_a_repetition_is_the_same_for_all_modes(sweep_file):
    (cell,) = cells_of(sweep_file(HEAD + '[set]\n"load.seed" = 40\n'))

    def plan(mode, repetition):
        return plan_of(cell, SweepRun(cell.digest, mode, repetition))

    seeds = {mode: [plan(mode, n).runs[0].load_seed for n in (1, 2, 3)] for mode in ("none", "statelet")}
    assert seeds == {"none": [40, 41, 42], "statelet": [40, 41, 42]}
    assert len(plan("statelet", 3).runs) == 1
    assert plan("statelet", 3).profile_digest == cell.digest
    assert plan("statelet", 3).runs[0].repetition == 2
