"""Agents on several hosts: each is reached once, all side by side, and left together."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from harness.errors import HarnessError
from harness.provision.engine import SeveralFailed
from harness.remote.hosts import Host, Hosts
from harness.remote.session import RemoteHost

AT_ONCE = 32


class RemoteHosts:
    """Open agents by the name of their host."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._open: dict[str, RemoteHost] = {}

    def open(self, names: Sequence[str]) -> None:
        """Reach these hosts. UsageError for an unknown one, SeveralFailed where more than one cannot be used; none is
        open after an error."""
        chosen = [self._hosts[name] for name in names if name not in self._open]
        if not chosen:
            return
        failures: dict[str, HarnessError] = {}

        def one(host: Host) -> None:
            try:
                self._open[host.name] = RemoteHost.open(self._hosts, host)
            except HarnessError as error:
                failures[host.name] = error

        try:
            with ThreadPoolExecutor(min(AT_ONCE, len(chosen)), thread_name_prefix="host") as executor:
                list(executor.map(one, chosen))
            errors = [failures[host.name] for host in chosen if host.name in failures]
            if errors:
                raise errors[0] if len(errors) == 1 else SeveralFailed(errors)
        except BaseException:
            self.close()
            raise

    def __getitem__(self, name: str) -> RemoteHost:
        """The agent of a host that is open."""
        return self._open[name]

    def close(self) -> None:
        """End all agents, which undo what they have made. Doing it twice is no error."""
        remotes = list(self._open.values())
        self._open.clear()
        if remotes:
            with ThreadPoolExecutor(min(AT_ONCE, len(remotes)), thread_name_prefix="host") as executor:
                list(executor.map(lambda remote: remote.close(), remotes))
