"""The host the harness itself runs on: namespaces are entered by threads made for it, never by the main thread."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import MachineError
from harness.provision import kernel
from harness.provision.connections.errors import NamespaceExists, NamespaceMissing
from harness.provision.connections.spawned import Child, ProcessFailed, SpawnedProcess
from harness.provision.connections.template import Template
from harness.provision.kernel import NamespaceIdentity
from harness.provision.netlink import NETLINK_ROUTE, RouteSocket

Result = TypeVar("Result")


def _in_new_thread(task: Callable[[], Result]) -> Result:
    with ThreadPoolExecutor(1, thread_name_prefix="netns") as executor:
        return executor.submit(task).result()


def in_throwaway_namespace(task: Callable[[], Result]) -> Result:
    """Call `task` in a new nameless network namespace that vanishes with the call; OSError when not permitted."""

    def entered() -> Result:
        kernel.unshare_network()
        return task()

    return _in_new_thread(entered)


class LocalConnection:
    """Connection to this host. One thread per namespace enters it once and then runs everything asked of it there.

    template: where there is one, its modules are forked from it instead of started anew.
    clock_shift_ns: how far CLOCK_MONOTONIC of the processes started from now on is ahead of this one's; it puts those
    of a run on several hosts on one clock.
    """

    def __init__(self, template: Template | None = None) -> None:
        self._template = template
        self.clock_shift_ns = 0
        self._lock = threading.Lock()
        self._threads: dict[str | None, ThreadPoolExecutor] = {}
        self._sockets: dict[str | None, RouteSocket] = {}

    def run(self, netns: str | None, task: Callable[[], Result]) -> Result:
        return self._thread(netns).submit(task).result()

    def _thread(self, netns: str | None) -> ThreadPoolExecutor:
        with self._lock:
            executor = self._threads.get(netns)
            if executor is not None:
                return executor
            executor = ThreadPoolExecutor(1, thread_name_prefix=f"netns-{netns}")
            if netns is not None:
                try:
                    executor.submit(self._enter, netns).result()
                except BaseException:
                    executor.shutdown(wait=True)
                    raise
            self._threads[netns] = executor
            return executor

    def _enter(self, netns: str) -> None:
        descriptor = self.open_namespace(netns)
        try:
            kernel.setns_network(descriptor)
        finally:
            os.close(descriptor)

    def open_namespace(self, name: str) -> int:
        try:
            return os.open(kernel.NETNS_DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NamespaceMissing(name) from None

    def netlink(self, netns: str | None) -> RouteSocket:
        existing = self._sockets.get(netns)
        if existing is not None:
            return existing
        created = RouteSocket(self.socket_in(netns, socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE))
        with self._lock:
            kept = self._sockets.setdefault(netns, created)
        if kept is not created:
            created.close()
        return kept

    def socket_in(self, netns: str | None, family: int, kind: int, protocol: int = 0) -> socket.socket:
        return self.run(netns, lambda: socket.socket(family, kind, protocol))

    def spawn(
        self,
        argv: Sequence[str],
        netns: str | None,
        configuration: Mapping[str, Any],
        log_path: Path,
        environment: Mapping[str, str] | None = None,
    ) -> SpawnedProcess:
        command = list(argv)

        def start() -> Child:
            # The child inherits the namespace of the thread that forks it; a new session keeps the terminal's
            # SIGINT away from it, so that the harness decides the order of tear-down.
            with log_path.open("ab") as log:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=None if environment is None else dict(environment),
                    start_new_session=True,
                )

        try:
            if self.clock_shift_ns:
                popen = self._on_shifted_clock(netns, start)
            elif environment is None and self._forks(command):
                popen = self._fork(command[2], netns, log_path)
            else:
                popen = self.run(netns, start)
        except OSError as error:
            raise ProcessFailed(f"start {' '.join(command[:4])}: {error}") from error
        process = SpawnedProcess(popen, command, log_path)
        try:
            process.send(configuration)
        except BaseException:
            process.stop(0.2)
            raise
        return process

    def _on_shifted_clock(self, netns: str | None, start: Callable[[], Child]) -> Child:
        """Start from a thread made for it: the shift cannot be taken back from a thread."""

        def shifted() -> Child:
            if netns is not None:
                self._enter(netns)
            try:
                kernel.shift_clock_of_children(self.clock_shift_ns)
            except OSError as error:
                raise MachineError(
                    f"kernel {platform.release()}: no clock of its own for a process ({error}); hosts of a run need "
                    "time namespaces (Linux 5.6, CONFIG_TIME_NS)"
                ) from error
            return start()

        return _in_new_thread(shifted)

    def _forks(self, command: list[str]) -> bool:
        """Whether the template can become this process."""
        known = () if self._template is None else self._template.modules
        return command[:2] == [sys.executable, "-m"] and len(command) == 3 and command[2] in known

    def _fork(self, module: str, netns: str | None, log_path: Path) -> Child:
        assert self._template is not None
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(log_path.open("ab"))
            descriptor = None
            if netns is not None:
                descriptor = self.open_namespace(netns)
                stack.callback(os.close, descriptor)
            return self._template.start(module, log.fileno(), descriptor)

    def read_text(self, path: Path, netns: str | None = None) -> str:
        return self.run(netns, path.read_text)

    def write_text(self, path: Path, text: str, netns: str | None = None) -> None:
        def write() -> None:
            path.write_text(text)

        self.run(netns, write)

    def create_namespace(self, name: str, announce: Callable[[NamespaceIdentity], None]) -> NamespaceIdentity:
        kernel.prepare_netns_directory()
        path = kernel.NETNS_DIRECTORY / name

        def create() -> NamespaceIdentity:
            try:
                os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
            except FileExistsError:
                raise NamespaceExists(name) from None
            try:
                kernel.unshare_network()
                identity = kernel.thread_namespace_identity()
                announce(identity)
                kernel.bind_thread_namespace(path)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            return identity

        return _in_new_thread(create)

    def remove_namespace(self, name: str, identity: NamespaceIdentity) -> bool:
        self.release(name)
        return kernel.remove_named_namespace(name, identity)

    def namespace_identity(self, name: str) -> NamespaceIdentity | None:
        return kernel.namespace_identity(name)

    def release(self, netns: str) -> None:
        self._release(netns)

    def _release(self, netns: str | None) -> None:
        with self._lock:
            executor = self._threads.pop(netns, None)
            kept = self._sockets.pop(netns, None)
        if kept is not None:
            kept.close()
        if executor is not None:
            executor.shutdown(wait=True)

    def close(self) -> None:
        with self._lock:
            names = set(self._threads) | set(self._sockets)
        for name in names:
            self._release(name)
