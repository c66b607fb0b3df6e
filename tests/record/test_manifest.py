from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import harness
from harness.record.manifest import collect_manifest, cpu_model, git_revision, memory_bytes


def test_holds_what_a_repetition_needs() -> None:
    manifest = collect_manifest(
        experiment_id="abc", profile="nat", seed=7, command_line=["harness", "run"], facts={"netem": False}
    )
    json.dumps(manifest, allow_nan=False)
    assert (manifest["seed"], manifest["command_line"], manifest["facts"]) == (7, ["harness", "run"], {"netem": False})
    assert manifest["harness_version"] == harness.__version__
    assert manifest["kernel"]["release"] == os.uname().release
    assert manifest["packages"]["numpy"]
    assert manifest["memory_bytes"] > 1 << 20


def test_secrets_of_the_environment_stay_out(monkeypatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "tell-nobody")
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    manifest = collect_manifest(experiment_id="a", profile="p", seed=1, command_line=[], facts={})
    assert "tell-nobody" not in json.dumps(manifest)
    assert manifest["environment"]["NUMBA_BOUNDSCHECK"] == "1"


def test_cpu_model_by_hand() -> None:
    assert cpu_model("processor\t: 0\nmodel name\t: Some CPU: fast\nmodel name\t: Other\n") == "Some CPU: fast"
    assert cpu_model("CPU part\t: 0xd0c\n") == "0xd0c"
    assert cpu_model(None) is None


def test_memory_by_hand() -> None:
    assert memory_bytes("MemTotal:       2048 kB\nMemFree: 1 kB\n") == 2048 * 1024
    assert memory_bytes("MemTotal: many kB\n") is None
    assert memory_bytes(None) is None


def test_git_revision_of_a_checkout(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    assert git_revision(tmp_path) is None
    git("init", "-q")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "x")
    clean = git_revision(tmp_path)
    assert clean is not None
    assert (len(str(clean["revision"])), clean["changed"]) == (40, False)
    (tmp_path / "file").write_text("2")
    assert git_revision(tmp_path) == {"revision": clean["revision"], "changed": True}
