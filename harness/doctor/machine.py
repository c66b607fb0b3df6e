"""Processors, memory, buffers, compiled code, leftovers: observed, then judged by pure functions."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import threading
import time
from pathlib import Path

from harness.dataplane.scheduling import DATAPLANE_PRIORITY
from harness.doctor.finding import Finding
from harness.measure.host import HostLoad, load_between, read_host
from harness.provision.connections.local import in_throwaway_namespace
from harness.provision.machine_lock import is_held
from harness.provision.objects import read_objects
from harness.provision.state_directory import STATE_VARIABLE, state_directory
from harness.units import format_size

SO_RCVBUFFORCE = 33
CPU_SAMPLE_S = 1.0
# Half of what the default socket buffer costs in loss-free rate is back at 8 MB.
ENOUGH_BUFFER_BYTES = 8 << 20


def assess_scheduler(permitted: bool) -> Finding:
    """Whether a dataplane thread may use SCHED_FIFO."""
    if permitted:
        return Finding("scheduler", "ok", "SCHED_FIFO permitted", "dataplane threads run before all others")
    text = (
        "dataplane threads compete with everything else: RTT tails of tens of ms at half load; a real-time limit "
        f"(ulimit -r) of {DATAPLANE_PRIORITY} permits it without root"
    )
    return Finding("scheduler", "degraded", "SCHED_FIFO refused", text)


def assess_processors(count: int, load: HostLoad) -> list[Finding]:
    """Number of CPUs this process may use, and what was free and stolen over the sample."""
    free = count * load.idle_fraction
    observed = f"{count} usable, {free:.1f} free over {load.wall_ns / 1e9:.1f} s"
    if count < 2:
        usable = Finding("processors", "degraded", observed, "load and VNF share one CPU: low rates only")
    elif free < 1.5:
        usable = Finding("processors", "degraded", observed, "other programs take CPU: runs may end INVALID; stop them")
    else:
        usable = Finding("processors", "ok", observed, "load generator and VNF can run side by side")
    steal = f"{load.steal_fraction:.1%} of CPU time stolen by the hypervisor"
    if load.steal_fraction > 0.02:
        stolen = Finding(
            "steal", "degraded", steal, "RTT tails of 5-20 ms at any load: read each figure beside the control"
        )
    else:
        stolen = Finding("steal", "ok", steal, "the hypervisor gives this machine its time")
    return [usable, stolen]


def assess_buffer(given_bytes: int, wanted_bytes: int, limit_bytes: int | None) -> Finding:
    """Receive buffer a socket got when `wanted_bytes` were asked for; `limit_bytes` is net.core.rmem_max, if known."""
    limit = "" if limit_bytes is None else f" (net.core.rmem_max {format_size(limit_bytes, 3)})"
    observed = f"{format_size(given_bytes, 3)} given of {format_size(wanted_bytes, 3)}{limit}"
    if given_bytes >= wanted_bytes:
        return Finding("receive buffer", "ok", observed, "bursts wait in the socket instead of being lost")
    if given_bytes >= ENOUGH_BUFFER_BYTES:
        return Finding("receive buffer", "degraded", observed, "shorter stalls than the profile allows lose packets")
    return Finding("receive buffer", "degraded", observed, "the loss-free rate may be half of what is possible")


def assess_memory(available_bytes: int, needed_bytes: int) -> Finding:
    """Available memory against the plan of the default profile."""
    observed = f"{format_size(available_bytes, 3)} available"
    if available_bytes < needed_bytes:
        return Finding("memory", "missing", observed, f"the default profile may need {format_size(needed_bytes, 3)}")
    return Finding("memory", "ok", observed, f"the default profile needs at most {format_size(needed_bytes, 3)}")


def assess_disk(free_bytes: int, needed_bytes: int, folder: Path) -> Finding:
    """Free space where results go against the plan of the default profile."""
    observed = f"{format_size(free_bytes, 3)} free in {folder}"
    if free_bytes < needed_bytes:
        return Finding("disk", "missing", observed, f"the default profile writes about {format_size(needed_bytes, 3)}")
    return Finding("disk", "ok", observed, f"the default profile writes about {format_size(needed_bytes, 3)}")


def assess_cache(folder: Path, files: int, writable: bool) -> Finding:
    """Compiled code on disk: `files` are those of the present sources."""
    if files:
        return Finding("compiled code", "ok", f"{files} files in {folder}", "processes start within a second or two")
    if writable:
        text = "the first start compiles for a minute; 'harness doctor --warm-cache' does it now"
        return Finding("compiled code", "degraded", f"none yet in {folder}", text)
    text = "every process compiles anew and misses its deadline; set NUMBA_CACHE_DIR to a writable folder"
    return Finding("compiled code", "missing", f"none, and {folder} is not writable", text)


def assess_leftover(objects: int, active: bool) -> Finding:
    """Objects in the records of runs, and whether a living run holds the lock."""
    if active:
        return Finding("other runs", "degraded", "a run is active", "a second run is refused until it ends")
    if objects:
        return Finding("other runs", "degraded", f"{objects} objects of dead runs", "'harness clean' removes them")
    return Finding("other runs", "ok", "none, and nothing left behind", "the machine is free")


def fifo_permitted() -> bool:
    """Try SCHED_FIFO on a thread that ends at once: the policy of a thread is its own."""
    permitted = []

    def attempt() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(DATAPLANE_PRIORITY))
        except OSError:
            return
        permitted.append(True)

    thread = threading.Thread(target=attempt, name="scheduler-probe")
    thread.start()
    thread.join()
    return bool(permitted)


def sample_processors() -> HostLoad:
    """All CPUs over CPU_SAMPLE_S."""
    first = read_host({})
    time.sleep(CPU_SAMPLE_S)
    return load_between(first, read_host({}))


def receive_buffer(wanted_bytes: int) -> int:
    """Bytes a socket is given; the kernel doubles what is asked for (socket(7)), which is taken out again."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, wanted_bytes)
        except OSError:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted_bytes)
        return probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _available_memory_bytes() -> int:
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def leftover() -> tuple[int, bool]:
    """Number of objects dead runs left, and whether a run is active (its objects are then not counted)."""
    where = state_directory()
    objects = 0
    if not os.environ.get(STATE_VARIABLE) and is_held():
        return 0, True
    try:
        descriptor = os.open(where / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0, False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0, True
    finally:
        os.close(descriptor)
    for record in where.glob("*/objects.jsonl"):
        objects += sum(not item.gone for item in read_objects(record))
    return objects, False


def packet_sockets_permitted() -> bool:
    """Whether the kernel opens an AF_PACKET socket for this process, in a namespace of its own as in a run: without
    root it does nowhere else. Protocol 0: it receives nothing.
    """
    try:
        in_throwaway_namespace(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close())
    except OSError:
        return False
    return True


def examine_machine(memory_bytes: int, disk_bytes: int, buffer_bytes: int, results: Path) -> list[Finding]:
    """All findings of this module for a profile that needs so much. Takes CPU_SAMPLE_S."""
    from harness.dataplane.jit import cache_directory

    processors = assess_processors(len(os.sched_getaffinity(0)), sample_processors())
    limit = _read(Path("/proc/sys/net/core/rmem_max"))
    cache = cache_directory()
    disk = _existing(results)
    return [
        assess_scheduler(fifo_permitted()),
        *processors,
        assess_buffer(receive_buffer(buffer_bytes), buffer_bytes, int(limit) if limit.isdigit() else None),
        assess_memory(_available_memory_bytes(), memory_bytes),
        assess_disk(shutil.disk_usage(disk).free, disk_bytes, disk),
        assess_cache(cache, sum(1 for _ in cache.rglob("*.nbc")), os.access(_existing(cache), os.W_OK)),
        assess_leftover(*leftover()),
    ]
