from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.provision.run_id import check_run_id


@pytest.mark.parametrize("bad", ["", "short", "1abcdefg", "UPPERCAS", "abcdefghi", "abc-defg", "abcdefg\n"])
def test_refuses_run_ids_that_are_no_names(bad: str) -> None:
    with pytest.raises(UsageError, match="run id"):
        check_run_id(bad)


def test_a_name_is_given_back() -> None:
    assert check_run_id("abcdefg1") == "abcdefg1"
