"""A Debian system in a folder and a repository of packages made for a test: apt-get and dpkg are the machine's."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ARRIVAL_S = 30.0


def make_package(repository: Path, name: str, version: str = "1", postinst: str = "") -> None:
    """Put a package with the file /usr/share/<name> into a repository, and list it there."""
    repository.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        control = tree / "DEBIAN"
        control.mkdir(mode=0o755)
        fields = {
            "Package": name,
            "Version": version,
            "Architecture": "all",
            "Maintainer": "a test <test@example.org>",
            "Description": f"{name}, for a test",
        }
        (control / "control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
        if postinst:
            (control / "postinst").write_text(f"#!/bin/sh\n{postinst}\n")
            (control / "postinst").chmod(0o755)
        (tree / "usr/share").mkdir(parents=True)
        (tree / "usr/share" / name).write_text(f"{name}\n")
        _run("dpkg-deb", "--build", "--root-owner-group", str(tree), str(repository / f"{name}_{version}.deb"))
    list_packages(repository)


def list_packages(repository: Path) -> None:
    """Write the repository's list of what is in it."""
    entries = []
    for path in sorted(repository.glob("*.deb")):
        content = path.read_bytes()
        entry = _run("dpkg-deb", "--field", str(path))
        digest = hashlib.sha256(content).hexdigest()
        entries.append(f"{entry}Filename: ./{path.name}\nSize: {len(content)}\nSHA256: {digest}\n")
    (repository / "Packages").write_text("\n".join(entries))


def source_line(repository: Path) -> str:
    """For sources.list. What is fetched is copied, as from a server."""
    return f"deb [trusted=yes] copy:{repository} ./\n"


class PackageSystem:
    """`root` is what is installed into; `environment` turns apt-get and dpkg to it."""

    def __init__(self, root: Path, repository: Path) -> None:
        self.root, self.repository = root, repository
        repository.mkdir()
        list_packages(repository)
        database = root / "var/lib/dpkg"
        parts = ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/apt/lists/partial", "var/log/apt")
        for folder in (*parts, "var/cache/apt/archives/partial", "var/lib/dpkg/info", "var/lib/dpkg/updates"):
            (root / folder).mkdir(parents=True)
        (database / "status").touch()
        (database / "available").touch()
        (root / "etc/apt/sources.list").write_text(source_line(repository))
        self._arrived, self._leave = root / "arrived", root / "leave"
        configuration = root / "apt.conf"
        options = ("force-not-root", "force-script-chrootless", f"instdir={root}", f"admindir={database}")
        configuration.write_text(
            f'Dir "{root}/";\nDir::State::status "{database}/status";\nDir::Bin::methods "/usr/lib/apt/methods";\n'
            'Dir::Bin::dpkg "/usr/bin/dpkg";\nAPT::Sandbox::User "root";\n'
            f"Dpkg::Options {{ {' '.join(f'{chr(34)}--{option}{chr(34)};' for option in options)} }};\n"
        )
        self.environment: Mapping[str, str] = {"APT_CONFIG": str(configuration), "DPKG_ADMINDIR": str(database)}

    @property
    def wait_for_leave(self) -> str:
        """A script of a package that goes on once it is let go."""
        return f"touch {self._arrived}; for _ in $(seq 600); do [ -e {self._leave} ] && exit; sleep 0.05; done; exit 1"

    def await_arrival(self) -> None:
        """Until the script is at work."""
        ends_s = time.monotonic() + ARRIVAL_S
        while not self._arrived.exists():
            assert time.monotonic() < ends_s, "the script of the package has not been started"
            time.sleep(0.02)

    def let_go(self) -> None:
        self._leave.touch()


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout
