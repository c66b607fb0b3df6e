"""Three hosts on one machine: an SSH server each in a network and mount namespace of its own, and the controller's."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from harness.dataplane.jit import cache_directory
from harness.doctor.cache import complete_mark
from harness.remote.warm import MARK
from harness.remote.wheel import make_wheel
from tests.system.conftest import ROOT, wait_until

NAMES = ("alpha", "beta", "gamma")
CONTROLLER = "controller"
PREFIX = "198.51.100"
SERVER = "/usr/sbin/sshd"
_OWN = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc", "--kill-child")
"""A host sees its own mounts and its own processes only."""


ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")


@contextlib.contextmanager
def cubic_allowed() -> Iterator[None]:
    """Hosts that are namespaces may not allow their testbeds a congestion control themselves; a real host may."""
    before = ALLOWED.read_text()
    if "cubic" not in before.split():
        ALLOWED.write_text(f"{before.strip()} cubic")
    try:
        yield
    finally:
        ALLOWED.write_text(before)


def require_server() -> None:
    """Without the server the tests are skipped, and fail where nobody would read that."""
    if shutil.which("sshd") or Path(SERVER).exists():
        return
    reason = "sshd (Debian package openssh-server) is not installed"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; .ci/run installs it")
    pytest.skip(reason)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


class SshHosts:
    """Namespaces, links and servers; `close` removes all of them.

    clocks_ahead_s: hosts whose CLOCK_MONOTONIC is not the machine's.
    """

    def __init__(self, folder: Path, clocks_ahead_s: Mapping[str, int] | None = None) -> None:
        self.folder = folder
        self._clocks_ahead_s = dict(clocks_ahead_s or {})
        self._mark = f"t{secrets.token_hex(3)}"
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        self._made: list[str] = []

    def share_code(self) -> None:
        """Every host has the files of this checkout as its environment, and this machine's compiled code: what a test
        of something else would wait minutes for."""
        environment = self.folder / "environment"
        venv.EnvBuilder(symlinks=True).create(environment)
        (packages,) = environment.glob("lib/python3*/site-packages")
        ours = [path for path in sys.path if path.endswith("-packages")]
        (packages / "base.pth").write_text("".join(f"{path}\n" for path in (ROOT, *ours)))
        (environment / MARK).write_text(str(complete_mark()))
        (environment / "complete").touch()
        for name in NAMES:
            cache = self.folder / f"{name}.home/.cache/slim-harness"
            (cache / "environments").mkdir(parents=True)
            (cache / "environments" / make_wheel().digest).symlink_to(environment)
            (cache / "numba").symlink_to(cache_directory().parent)

    def netns(self, name: str) -> str:
        return f"{self._mark}-{name}"

    def address(self, name: str) -> str:
        return f"{PREFIX}.{10 + NAMES.index(name)}"

    def start(self) -> None:
        """A bridge in the controller's namespace with a link to every host, keys, and the servers."""
        controller = self.netns(CONTROLLER)
        self._add(controller)
        run("ip", "-n", controller, "link", "add", "lan", "type", "bridge")
        run("ip", "-n", controller, "addr", "add", f"{self.controller_address}/24", "dev", "lan")
        run("ip", "-n", controller, "link", "set", "lan", "up")
        for name in NAMES:
            netns = self.netns(name)
            self._add(netns)
            run("ip", "-n", controller, "link", "add", name, "type", "veth", "peer", "lan0", "netns", netns)
            run("ip", "-n", controller, "link", "set", name, "master", "lan", "up")
            run("ip", "-n", netns, "addr", "add", f"{self.address(name)}/24", "dev", "lan0")
            run("ip", "-n", netns, "link", "set", "lan0", "up")
        self.key("client")
        (self.folder / "authorized_keys").write_text((self.folder / "client.pub").read_text())
        for name in NAMES:
            self.key(name)
            self.serve(name)
        self.write_known_hosts()

    def _add(self, netns: str) -> None:
        run("ip", "netns", "add", netns)
        self._made.append(netns)
        # A network card gives all frames of a tunnel to one CPU; a veth gives them to that of whoever sends.
        run("ip", "netns", "exec", netns, "sh", "-c", "echo 1 > /proc/sys/net/core/rps_default_mask")
        run("ip", "-n", netns, "link", "set", "lo", "up")

    def key(self, name: str) -> Path:
        path = self.folder / name
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path))
        return path

    def write_known_hosts(self, keys: Mapping[str, str] | None = None) -> Path:
        """Every host with its own key, or with that of another by name."""
        lines = []
        for name in NAMES:
            public = (self.folder / f"{(keys or {}).get(name, name)}.pub").read_text().strip()
            lines.append(f"{self.address(name)} {public}")
        path = self.folder / "known_hosts"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def serve(self, name: str, setup: str = "true", settings: str = "") -> None:
        """Start the server of a host; it has /run and a home of its own. setup: a script that mounts more; settings:
        further lines of sshd_config(5).
        """
        home = self.folder / f"{name}.home"
        home.mkdir(exist_ok=True)
        configuration = self.folder / f"{name}.config"
        configuration.write_text(
            f"""ListenAddress {self.address(name)}
HostKey {self.folder / name}
AuthorizedKeysFile {self.folder / "authorized_keys"}
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
SetEnv HOME={home} XDG_CACHE_HOME={home}/.cache TMPDIR=/run/tmp
{settings}
"""
        )
        # A mount namespace of its own: names of network namespaces, the folder of the server and temporary files are of
        # this host only, and go with it.
        server = f"{SERVER} -D -e -f {shlex.quote(str(configuration))}"
        script = f"mount -t tmpfs run /run && mkdir -p /run/sshd /run/netns /run/tmp && {setup} && exec {server}"
        enter = ("ip", "netns", "exec", self.netns(name))
        ahead_s = self._clocks_ahead_s.get(name)
        clock = () if ahead_s is None else ("--time", "--monotonic", str(ahead_s))
        with (self.folder / f"{name}.log").open("ab") as log:
            self._servers[name] = subprocess.Popen(
                [*enter, *_OWN, *clock, "sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: self._answers(name), f"sshd of {name} answers")

    def _answers(self, name: str) -> bool:
        assert self._servers[name].poll() is None, (self.folder / f"{name}.log").read_text()[-2000:]
        probe = "import socket, sys; s = socket.create_connection((sys.argv[1], 22), 1); sys.exit(s.recv(4) != b'SSH-')"
        command = ["ip", "netns", "exec", self.netns(CONTROLLER), sys.executable, "-c", probe, self.address(name)]
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0

    def stop(self, name: str) -> None:
        """End the server of a host and every process of its namespace."""
        server = self._servers.pop(name, None)
        for pid in run("ip", "netns", "pids", self.netns(name)).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), 9)
        if server is not None:
            server.wait(20)

    def cut(self, name: str) -> None:
        """End every connection to a host as if its server had died; new ones are taken."""
        for pid in run("ip", "netns", "pids", self.netns(name)).split():
            with contextlib.suppress(OSError):
                if b"@" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]:
                    os.kill(int(pid), signal.SIGKILL)

    def kill(self, name: str, word: str) -> None:
        """SIGKILL for every process of a host that has the word in its command line."""
        for pid in run("ip", "netns", "pids", self.netns(name)).split():
            with contextlib.suppress(OSError):
                if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    os.kill(int(pid), signal.SIGKILL)

    def unplug(self, name: str) -> None:
        """Nothing reaches a host or leaves it any more, and nobody is told."""
        run("ip", "-n", self.netns(CONTROLLER), "link", "set", name, "down")

    def plug(self, name: str) -> None:
        run("ip", "-n", self.netns(CONTROLLER), "link", "set", name, "up")

    def processes(self, name: str) -> list[str]:
        """Command lines of what runs in a host's namespace, beside its server."""
        found = []
        for pid in run("ip", "netns", "pids", self.netns(name)).split():
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                if line and "sshd" not in line:
                    found.append(line)
        return found

    def root(self, name: str) -> Path:
        """The files of a host as its server, and what it started, see them."""
        return Path(f"/proc/{self._servers[name].pid}/root")

    def namespaces(self, name: str) -> list[str]:
        """Names of network namespaces there."""
        return [entry.name for entry in (self.root(name) / "run/netns").iterdir()]

    def inventory(self, **changed: Mapping[str, object]) -> Path:
        """hosts.toml; `changed` are keys of single hosts."""
        lines = [
            "[defaults]",
            f'key = "{self.folder / "client"}"',
            f'known_hosts = "{self.folder / "known_hosts"}"',
            f'python = "{sys.executable}"',
            "agent = false",
            "connect_s = 5.0",
        ]
        for name in NAMES:
            values = {"address": self.address(name), **changed.get(name, {})}
            lines += [f"[hosts.{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
        lines += ["[groups]", 'testbeds = ["alpha", "beta", "gamma"]']
        path = self.folder / "hosts.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    @property
    def controller_address(self) -> str:
        return f"{PREFIX}.1"

    def inside(self, name: str) -> tuple[str, ...]:
        """In front of a command that shall see a host's network."""
        return ("ip", "netns", "exec", self.netns(name))

    @property
    def prefix(self) -> tuple[str, ...]:
        """In front of a command that shall run where the controller is."""
        return self.inside(CONTROLLER)

    def close(self) -> None:
        for name in list(self._servers):
            self.stop(name)
        for netns in reversed(self._made):
            run("ip", "netns", "del", netns)
        self._made.clear()


def _toml(value: object) -> str:
    return str(value) if isinstance(value, int | float) else f'"{value}"'


@contextlib.contextmanager
def started(hosts: SshHosts, shares_code: bool = False) -> Iterator[SshHosts]:
    """Within the block they serve. shares_code: with this checkout's code, compiled already."""
    require_server()
    try:
        if shares_code:
            hosts.share_code()
        hosts.start()
        yield hosts
    finally:
        hosts.close()


@pytest.fixture(scope="module")
def ssh_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHosts]:
    with started(SshHosts(tmp_path_factory.mktemp("ssh"))) as hosts:
        yield hosts
