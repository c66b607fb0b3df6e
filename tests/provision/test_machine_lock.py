from __future__ import annotations

import os
import pwd
import secrets
import subprocess
import sys

import pytest

from harness.errors import MachineError
from harness.provision.machine_lock import MachineLock, describe_holder, is_held

HOLD = """
import sys
from harness.provision.machine_lock import MachineLock
lock = MachineLock(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def name() -> str:
    return f"test-{secrets.token_hex(6)}"


def test_one_holds_it_and_gives_it_back(name: str) -> None:
    lock = MachineLock(name)
    assert is_held(name)
    with pytest.raises(MachineError, match="another run is active on this machine"):
        MachineLock(name)
    lock.release()
    lock.release()
    assert not is_held(name)
    MachineLock(name).release()


def test_the_holder_is_named_and_its_end_frees_the_lock(name: str) -> None:
    # Whatever stands in a command line, it must not act on the terminal of the one who is refused.
    words = [sys.executable, "-c", HOLD, name, "\x1b[31mred"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(MachineError) as caught:
            MachineLock(name)
        user = pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() == 0 else str(os.geteuid())
        assert f"process {holder.pid} of user {user}" in str(caught.value)
        assert "\x1b" not in str(caught.value)
        holder.kill()
        holder.wait()
    MachineLock(name).release()


def test_many_who_are_refused_do_not_block_the_next(name: str) -> None:
    lock = MachineLock(name)
    for _ in range(40):
        assert is_held(name)
        assert describe_holder(name)
    lock.release()


def test_nobody_holds_what_nobody_took(name: str) -> None:
    assert not is_held(name)
    assert describe_holder(name) == "its process cannot be told"
