from __future__ import annotations

import numpy as np
import pytest

from harness.errors import UsageError
from harness.models.parameters import PARAMETERS, Output, read_inputs


@pytest.mark.parametrize("model", PARAMETERS)
def test_every_default_parses(model):
    inputs = read_inputs(model, {})
    assert inputs.scalar
    for parameter in PARAMETERS[model]:
        assert (inputs.get(parameter.name) is None) == (parameter.default == "")


def test_units():
    inputs = read_inputs("multi-vm", {"memory": "2GiB", "rate": "2.5Gbit", "resume": "20ms", "vms": "3"})
    assert [float(inputs.get(n)) for n in ("memory", "rate", "resume", "vms")] == [2 * 2**30, 2.5e9, 0.02, 3]
    keys = [inputs.parameter(n).key for n in ("memory", "rate", "resume", "vms", "dirty-pages")]
    assert keys == ["memory_bytes", "rate_bps", "resume_s", "vms", "dirty_pages"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"memory": "2"}, "memory: .* has no unit"),
        ({"memory": "-2GiB"}, "memory: .* is negative"),
        ({"rate": "1Gbps"}, "rate: .* unknown unit"),
        ({"vms": "2.5"}, "vms: '2.5' is not a whole number"),
        ({"vms": "many"}, "vms: 'many' is not a number"),
        ({"dirty-pages": "nan"}, "dirty-pages: 'nan' is not a finite number"),
        ({"dirty-pages": "1e999"}, "is not a finite number"),
    ],
)
def test_a_text_that_does_not_parse_is_named(given, message):
    with pytest.raises(UsageError, match=message):
        read_inputs("multi-vm", given)


def test_sweeps_make_a_grid():
    inputs = read_inputs("multi-vm", {"rate": "2Gbit"}, ["vms=1,3", "resume=0s:100ms:3"])
    assert inputs.swept == ("vms", "resume")
    assert inputs.get("vms").tolist() == [1, 1, 1, 3, 3, 3]
    assert inputs.get("resume").tolist() == pytest.approx([0, 0.05, 0.1] * 2)
    assert np.ndim(inputs.get("rate")) == 0


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("vms", "write NAME=FROM:TO:COUNT"),
        ("vm=1:2:3", "write NAME=FROM:TO:COUNT .* with one of vms, memory"),
        ("vms=1:2", "write FROM:TO:COUNT"),
        ("vms=1:8:0", "COUNT must be a whole number"),
        ("vms=1:8:-3", "COUNT must be a whole number"),
        ("vms=1:8:99999999999", "COUNT must be a whole number"),
        ("vms=a:8:3", "vms: 'a' is not a number"),
        ("vms=1:8:3", "values that are not whole"),
        ("vms=", "vms: '' is not a number"),
        ("memory=1GiB:2:3", "memory: '2' has no unit"),
    ],
)
def test_a_broken_sweep_is_named(sweep, message):
    with pytest.raises(UsageError, match=message):
        read_inputs("multi-vm", {}, [sweep])


def test_too_many_cells_and_repeated_sweeps_are_refused():
    with pytest.raises(UsageError, match="at most 4,000,000"):
        read_inputs("multi-vm", {}, ["ratio=0.01:0.1:3000", "resume=0s:1s:3000"])
    with pytest.raises(UsageError, match="given twice"):
        read_inputs("multi-vm", {}, ["vms=1,2", "vms=3,4"])


def test_one_form_of_output():
    with pytest.raises(UsageError, match="either --json or --csv"):
        Output(as_json=True, as_csv=True)
