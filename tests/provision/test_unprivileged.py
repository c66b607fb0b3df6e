from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from harness.provision import unprivileged
from harness.provision.connections.spawned import process_start_ticks
from harness.provision.unprivileged import explain, remove_stale
from harness.provision.user_namespace import EntryRefused

OPEN = {"user.max_user_namespaces": "9000", "user.max_mnt_namespaces": "9000", "user.max_net_namespaces": "9000"}


@pytest.mark.parametrize(
    ("settings", "number", "words"),
    [
        ({"user.max_user_namespaces": "0"}, errno.ENOSPC, "user.max_user_namespaces = 0"),
        ({"user.max_net_namespaces": "0"}, errno.ENOSPC, "user.max_net_namespaces = 0"),
        ({"kernel.unprivileged_userns_clone": "0"}, errno.EPERM, "kernel.unprivileged_userns_clone = 0"),
        (
            {"kernel.apparmor_restrict_unprivileged_userns": "1"},
            errno.EACCES,
            "kernel.apparmor_restrict_unprivileged_userns = 1",
        ),
        ({"kernel.unprivileged_userns_clone": "1"}, errno.EPERM, "a security module, or by the filter of a container"),
        ({}, errno.ENOSPC, "limits are user.max_user_namespaces = 9000"),
        ({}, errno.EINVAL, "not possible here"),
    ],
)
def test_a_refusal_names_the_setting_behind_it(settings: dict[str, str], number: int, words: str) -> None:
    line = explain(EntryRefused("unshare", number), OPEN | settings)
    assert words in line
    assert f"unshare: {os.strerror(number)}" in line
    assert "\n" not in line


def test_code_that_is_called_by_others_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "execve", lambda *_arguments: pytest.fail("executed"))
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    monkeypatch.setattr(unprivileged, "held_capabilities", lambda: 0)
    unprivileged.enter()


@pytest.mark.parametrize(("user", "held", "marked"), [(0, 0, ""), (4321, (1 << 40) - 1, ""), (4321, 0, "/x/netns-1-1")])
def test_root_the_able_and_those_inside_already_go_on(
    monkeypatch: pytest.MonkeyPatch, user: int, held: int, marked: str
) -> None:
    monkeypatch.setattr(unprivileged._Program, "replaceable", True)
    monkeypatch.setattr(os, "execve", lambda *_arguments: pytest.fail("executed"))
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(unprivileged, "held_capabilities", lambda: held)
    monkeypatch.setenv("SLIM_HARNESS_ROOTLESS", marked)
    unprivileged.enter()


def test_the_same_command_line_is_executed_with_a_mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    executed = []
    monkeypatch.setattr(unprivileged._Program, "replaceable", True)
    monkeypatch.setattr(os, "execve", lambda *arguments: executed.append(arguments))
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    monkeypatch.setattr(unprivileged, "held_capabilities", lambda: 0)
    monkeypatch.delenv("SLIM_HARNESS_ROOTLESS", raising=False)
    monkeypatch.setenv("SLIM_HARNESS_STATE", str(tmp_path))
    monkeypatch.setattr("sys.orig_argv", ["python", "-m", "harness", "run", "x.toml"])
    unprivileged.enter()
    ((program, arguments, environment),) = executed
    assert arguments == [program, "-m", "harness", "run", "x.toml"]
    assert environment["SLIM_HARNESS_ROOTLESS"].startswith(f"{tmp_path}/netns-{os.getpid()}-")
    assert list(tmp_path.iterdir()) == [], "nothing is made before it is executed"


def test_only_folders_of_the_dead_are_removed(tmp_path: Path) -> None:
    alive = tmp_path / f"netns-{os.getpid()}-{process_start_ticks(os.getpid())}"
    foreign = tmp_path / "netns-other"
    used = tmp_path / "netns-1-2"
    for folder in (alive, tmp_path / f"netns-{os.getpid()}-1", tmp_path / "netns-999999999-5", foreign, used / "x"):
        folder.mkdir(parents=True)
    remove_stale(tmp_path)
    assert set(tmp_path.iterdir()) == {alive, foreign, used}
