from __future__ import annotations

import os
import signal

import pytest

from harness.provision.interrupt import Interrupted, interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_raises_and_later_ones_do_not_cut_tear_down_short(number: signal.Signals) -> None:
    steps: list[str] = []

    def run() -> None:
        with interruptible():
            try:
                os.kill(os.getpid(), number)
                steps.append("not interrupted")
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGINT)
                steps.append("torn down")

    with pytest.raises(Interrupted, match=number.name) as caught:
        run()
    assert steps == ["torn down"]
    assert caught.value.exit_code == 130


def test_the_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with interruptible():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
