"""[[task]] package on a real host: an SSH server with /usr, /var and /etc of its own; apt-get and dpkg as they are."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from harness.profile.load import read_document
from tests.provision.tasks.package_system import make_package, source_line
from tests.system.conftest import SMOKE, Cli
from tests.system.ssh_hosts import SshHosts, started

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs Debian or its kin"),
]
NAME = "slim-harness-trial"
OWN = """for each in usr var etc; do
    own=/run/own/$each; mkdir -p $own $own.work
    mount -t overlay overlay -o lowerdir=/$each,upperdir=$own,workdir=$own.work /$each || exit 1
done"""


def setup(repository: Path) -> str:
    """A system of its own which knows one repository and has no list of it yet."""
    sources = "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/*"
    return f"{{ {OWN}; }} && {sources} && echo '{source_line(repository).strip()}' > /etc/apt/sources.list"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHosts]:
    folder = tmp_path_factory.mktemp("packages")
    script = f"mount -t tmpfs run /run && {{ {OWN}; }}"
    tried = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script], capture_output=True, text=True
    )
    if tried.returncode:
        pytest.skip(f"a host cannot have a system of its own here: {tried.stderr.strip()[:200]}")
    make_package(folder / "repository", NAME)
    with started(SshHosts(folder), shares_code=True) as made:
        made.stop("alpha")
        made.serve("alpha", setup(folder / "repository"))
        yield made


def run(cli: Cli, hosts: SshHosts, install: bool, *options: str) -> subprocess.CompletedProcess[str]:
    tasks: list[dict[str, Any]] = [
        {"package": {"names": [NAME], "install": install}, "hosts": ["alpha"]},
        {"command": {"argv": ["cat", f"/usr/share/{NAME}"]}, "hosts": ["alpha"]},
    ]
    document = {**read_document(SMOKE), "task": tasks}
    document["migration"] = {**document.get("migration", {}), "modes": ["statelet"]}
    path = hosts.folder / "with-packages.toml"
    path.write_bytes(tomli_w.dumps(document).encode())
    arguments = ["--results", cli.results, "--calibration", "off", "--inventory", hosts.inventory(), *options]
    return cli("run", path, *arguments, prefix=hosts.prefix)


def is_installed(hosts: SshHosts) -> bool:
    return (
        f"Package: {NAME}\nStatus: install ok installed\n" in (hosts.root("alpha") / "var/lib/dpkg/status").read_text()
    )


def test_a_package_is_told_installed_used_and_stays(cli: Cli, hosts: SshHosts) -> None:
    done = run(cli, hosts, False)
    assert done.returncode == 4, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"packages that are not installed: {NAME}; apt-get install {NAME}, or install = true")

    done = run(cli, hosts, True, "--check", "--diff")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"  {NAME}: absent -> installed\n" in done.stdout
    assert not is_installed(hosts)

    done = run(cli, hosts, True, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert [run["verdict"] for run in told["summary"]["runs"]] == ["VALID"]
    assert [(task["on"], task["result"]) for task in told["tasks"]] == [("alpha", "changed")] * 2
    assert f"Setting up {NAME}" in told["tasks"][0]["output"]
    assert told["tasks"][1]["output"] == f"{NAME}\n"
    assert is_installed(hosts)
    assert "undone: [alpha]" not in done.stderr

    done = run(cli, hosts, True, "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok: [alpha]\n" in done.stdout
    assert not Path(f"/usr/share/{NAME}").exists()  # it is that host's alone
