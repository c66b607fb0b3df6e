from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.models.printed import PAPERS, Printed, Variant, printed_numbers

EVERY = {f"{n.quantity}": n for paper in PAPERS for n in printed_numbers(paper)}


def test_which_printed_numbers_are_not_reproduced():
    assert {name for name, number in EVERY.items() if not number.reproduced} == {
        "statelet factor, intrusion detection",
        "memory Vm above which it saturates",
        "threshold Vth below which it saturates",
        "migration time, m = 1",
    }


@pytest.mark.parametrize(
    ("quantity", "computed", "variants"),
    [
        ("lambda above which parallel migration saturates nmax", 0.08966, {"Vth/Vm = 0.1": 0.08996}),
        ("threshold Vth below which it saturates", 53.17, {"lambda = 0.082": 53.53}),
        ("rate R below which it saturates", 913.710, {"lambda = 0.082": 914.60}),
        ("memory Vm above which it saturates", 1.881, {"lambda = 0.082": 1.868}),
        ("smallest M that saturates", 9, {}),
        ("validity limit of M", 12, {}),
        ("migration time, m = 1", 40.626, {"whole rounds (ceil)": 40.640}),
        ("migration time, m = 2", 42.743, {"whole rounds (ceil)": 42.970}),
        ("migration time, m = 3", 46.821, {"whole rounds (ceil)": 47.142}),
        ("migration time, m = 4", 53.553, {"whole rounds (ceil)": 54.565}),
        ("migration time, m = 5", 64.000, {"whole rounds (ceil)": 64.960}),
        ("statelet factor, NAT", 0.0258, {}),
        ("statelet factor, intrusion detection", 0.0871, {}),
        ("statelet factor, VPN session", 0.0938, {}),
        ('bandwidth utilisation "almost tripled"', 2.86, {}),
    ],
)
def test_what_was_computed_instead(quantity, computed, variants):
    number = EVERY[quantity]
    assert number.computed == pytest.approx(computed, rel=2e-4, abs=5.1e-5) or quantity.startswith("bandwidth")
    assert number.computed == pytest.approx(computed, rel=2e-3)
    found = {v.parameters: v.computed for v in number.variants}
    for name, value in variants.items():
        assert found[name] == pytest.approx(value, rel=2e-4)


def test_a_variant_reproduces_what_the_printed_parameters_do_not():
    for name in ("memory Vm above which it saturates", "threshold Vth below which it saturates"):
        assert [v.parameters for v in EVERY[name].reproducing()] == ["lambda = 0.082"]
    assert "whole rounds (ceil)" in [v.parameters for v in EVERY["migration time, m = 1"].reproducing()]


def test_sentences():
    assert EVERY["migration time, m = 3"].sentence() == "printed 46.82 s, computed 46.8211 s"
    assert EVERY["threshold Vth below which it saturates"].sentence() == (
        "printed 53.5 MB, computed 53.169 MB; not reproduced; lambda = 0.082 gives 53.534 MB"
    )


def test_a_number_is_reproduced_within_its_last_digit():
    def number(computed):
        return Printed("", "", "", 0.025, 3, computed, (Variant("v", 0.0255),))

    assert [number(c).reproduced for c in (0.0241, 0.0259, 0.0261, 0.0239)] == [True, True, False, False]


def test_unknown_paper():
    with pytest.raises(UsageError, match="no paper 'y'; there are slim, multi-vm, chain"):
        printed_numbers("y")
