from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.provision.connections.local import LocalConnection
from harness.provision.ownership import Ownership
from harness.provision.task import ABSENT, Change, Context, VerifyFailed, difference
from tests.provision.contract import FakeTask, check_contract

states = st.dictionaries(st.text(max_size=3), st.integers(0, 3), max_size=6)


@pytest.fixture
def context() -> Context:
    return Context(LocalConnection(), Ownership.preview("unittest"))


@given(states, states)
def test_applying_the_difference_gives_what_is_wanted_and_touches_nothing_else(
    observed: dict[str, int], wanted: dict[str, int]
) -> None:
    changed = dict(observed)
    for change in difference(observed, wanted):
        assert change.before == observed.get(change.subject, ABSENT)
        assert change.before != change.after
        changed[change.subject] = change.after
    assert changed == {**observed, **wanted}


@given(states)
def test_nothing_is_to_be_done_when_all_is_there(state: dict[str, int]) -> None:
    assert difference(state, state) == []


def test_a_change_reads_as_one_line() -> None:
    assert Change("br0 up", False, True).line() == "br0 up: False -> True"


def test_the_fake_keeps_the_contract_of_tasks(context: Context) -> None:
    check_contract(FakeTask("a", {}), context)


def test_verify_names_what_is_not_as_wanted(context: Context) -> None:
    with pytest.raises(VerifyFailed, match="a: absent -> present"):
        FakeTask("a", {}).verify(context)
