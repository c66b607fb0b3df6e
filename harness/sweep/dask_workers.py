"""Testbeds as workers of Dask: hosts of the inventory with a scheduler here, or a scheduler that somebody else runs."""

from __future__ import annotations

import contextlib
import logging
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness.errors import HarnessError, MachineError, UsageError
from harness.remote.hosts import Host, Hosts
from harness.remote.session import RemoteHost
from harness.sweep.many import NOBODY_LEFT, Outcome
from harness.sweep.matrix import Cell, plan_of
from harness.sweep.order import Due
from harness.sweep.remote_run import SLACK_S, carry_out
from harness.sweep.worker_process import RESOURCE

LOST_AFTER_S = 20.0
"""A worker that has not been heard of for so long is lost."""
WARM_S = 900.0
"""For a host to compile the packet path and start its worker."""
LOOK_S = 1.0
EXTRA = "pip install 'slim-harness[hosts]'"


def require_dask() -> None:
    """MachineError where the optional extra is not installed."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise MachineError(f"sweeps over several hosts need Dask: {EXTRA}") from None


class DaskWorkers:
    """Workers of one scheduler. Everything of a run that was lost is told by its host's name."""

    def __init__(self, client: Any, sweep: str, keep: str) -> None:
        self._client, self._sweep, self._keep = client, sweep, keep
        self._keys: dict[Any, str] = {}
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def free(self) -> int:
        """How many workers could take a run now."""
        return len(self._workers()) - len(self._keys)

    def give(self, cell: Cell, due: Due) -> None:
        """Hand out a run; does not wait."""
        request = {
            "profile": cell.profile.document(),
            "cell": due.run.cell,
            "mode": due.run.mode,
            "repetition": due.run.repetition,
            "sweep": self._sweep,
            "keep": self._keep,
            "deadline_s": plan_of(cell, due.run).duration_ns / 1e9 * 3 + SLACK_S,
        }
        name = f"{due.run.key}-{due.attempt}"
        future = self._client.submit(_named, request, key=name, pure=False, retries=0, resources={RESOURCE: 1})
        self._keys[future] = due.run.key
        future.add_done_callback(self._done.put)

    def take(self) -> Outcome:
        """Wait for the next run that ends. HarnessError where no worker is left."""
        while True:
            with contextlib.suppress(queue.Empty):
                return self._outcome(self._done.get(timeout=LOOK_S))
            if not self._workers():
                raise HarnessError(NOBODY_LEFT)

    def _outcome(self, future: Any) -> Outcome:
        key = self._keys.pop(future)
        try:
            result = future.result()
        except Exception as error:  # of Dask, of the host, of the connection: the run is lost whatever it was
            worker = getattr(error, "last_worker", None)
            host = str(getattr(worker, "name", "") or "a host")
            return Outcome(key, host, reason=f"lost during the run ({type(error).__name__})")
        finally:
            future.release()
        host = str(result.get("host", ""))
        if "error" in result:
            return Outcome(key, host, error=str(result["error"]))
        return Outcome(key, host, archive=result["archive"])

    def _workers(self) -> list[dict[str, Any]]:
        found = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return [worker for worker in found if worker.get("resources", {}).get(RESOURCE)]


def _named(request: dict[str, Any]) -> dict[str, Any]:
    """Runs on a worker: the run, and the worker's name beside it."""
    from distributed import get_worker

    return {"host": str(get_worker().name), **carry_out(request)}


@contextlib.contextmanager
def on_hosts(
    hosts: Hosts, names: Sequence[str], sweep: str, keep: str, tell: Callable[[str], None]
) -> Iterator[DaskWorkers]:
    """A scheduler here, on the address by which the hosts are reached, and a worker on each of them, with keys that are
    made for it. Hosts that cannot be used are told and left out; MachineError where none can.
    """
    require_dask()
    from distributed import Client, Scheduler, SpecCluster
    from distributed.security import Security

    chosen = hosts.select(names)
    for host in chosen:
        if host.jump:
            raise UsageError(
                f"host {host.title}: is reached through {host.jump}; the worker of a sweep connects to this side itself"
            )
    _quiet()
    with contextlib.ExitStack() as stack:
        sessions = _opened(hosts, chosen, stack, tell)
        security = Security.temporary()
        address = sessions[0].local_address
        scheduler = {
            "cls": Scheduler,
            "options": {
                "host": address,
                "port": 0,
                "protocol": "tls://",
                "dashboard": False,
                "dashboard_address": None,
                "allowed_failures": 0,
                "worker_ttl": f"{LOST_AFTER_S:g}s",
                "security": security,
            },
        }
        cluster = stack.enter_context(SpecCluster(workers={}, scheduler=scheduler, security=security, silence_logs=50))
        client = stack.enter_context(Client(cluster, security=security, set_as_default=False))
        keys = {
            "tls_ca_file": security.tls_ca_file,
            "tls_worker_cert": security.tls_worker_cert,
            "tls_worker_key": security.tls_worker_key,
        }
        _start_workers(sessions, cluster.scheduler_address, keys, tell)
        yield DaskWorkers(client, sweep, keep)


@contextlib.contextmanager
def on_scheduler(url: str, sweep: str, keep: str) -> Iterator[DaskWorkers]:
    """The workers of a running scheduler that have the resource `testbed`, and this project installed. MachineError
    where it cannot be reached or has no such worker."""
    require_dask()
    from distributed import Client

    _quiet()
    try:
        client = Client(url, timeout=10, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise MachineError(
            f"--scheduler {url}: cannot be reached ({str(error) or type(error).__name__:.120})"
        ) from None
    with client:
        workers = DaskWorkers(client, sweep, keep)
        if workers.free() == 0:
            raise MachineError(
                f"--scheduler {url}: no worker has the resource; start them with --resources {RESOURCE}=1"
            )
        yield workers


def _opened(
    hosts: Hosts, chosen: Sequence[Host], stack: contextlib.ExitStack, tell: Callable[[str], None]
) -> list[RemoteHost]:
    def one(host: Host) -> RemoteHost | HarnessError:
        try:
            return RemoteHost.open(hosts, host)
        except HarnessError as error:
            return error

    with ThreadPoolExecutor(len(chosen), thread_name_prefix="host") as executor:
        found = list(executor.map(one, chosen))
    sessions = [session for session in found if isinstance(session, RemoteHost)]
    stack.callback(_close_all, sessions)
    for error in found:
        if isinstance(error, HarnessError):
            tell(f"left out: {error}")
    if not sessions:
        raise MachineError("no host can be used")
    return sessions


def _close_all(sessions: Sequence[RemoteHost]) -> None:
    """Side by side: each waits until its host has removed what was under way there."""
    if sessions:
        with ThreadPoolExecutor(len(sessions), thread_name_prefix="host") as executor:
            list(executor.map(lambda session: session.close(), sessions))


def _start_workers(
    sessions: Sequence[RemoteHost], scheduler: str, keys: dict[str, Any], tell: Callable[[str], None]
) -> None:
    tell(f"starting workers on {', '.join(session.host.name for session in sessions)} (the first time a host compiles)")

    def one(session: RemoteHost) -> str:
        configuration = {
            "scheduler": scheduler,
            "name": session.host.name,
            "address": session.call("own_address")["address"],
            "security": keys,
            "death_timeout_s": LOST_AFTER_S,
        }
        try:
            session.call("start", WARM_S, module="harness.sweep.worker_process", configuration=configuration)
        except HarnessError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(len(sessions), thread_name_prefix="host") as executor:
        faults = [fault for fault in executor.map(one, sessions) if fault]
    for fault in faults:
        tell(f"left out: {fault}")
    if len(faults) == len(sessions):
        raise MachineError("no host can carry a testbed")


def _quiet() -> None:
    """What concerns the user is told by us, in one line."""
    for name in ("distributed", "distributed.scheduler", "distributed.client", "distributed.core", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
