"""From a model's inputs to its named results, each with its unit and its equation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness.models import chain as chain_model
from harness.models import multi_vm, queueing, saturation, slim, vm_delta
from harness.models.chain import Chain
from harness.models.domain import Grid, masked
from harness.models.multi_vm import Rounding, VmSet
from harness.models.parameters import Inputs
from harness.models.slim import SharedLink
from harness.models.vm_delta import DeltaVm

_STRATEGIES_SHOWN_MAX = 12
_ROUNDS_MAX = 1000


@dataclass(frozen=True)
class Result:
    """A quantity over all cells. `key` is its name in JSON and CSV, `unit` '' for a pure number."""

    key: str
    title: str
    unit: str
    source: str
    values: Grid


def evaluate(inputs: Inputs, rounding: Rounding | None = None) -> list[Result]:
    """Every result of the model. rounding: of numbers of rounds; None is the paper's own. UsageError as the models."""
    return list(_MODELS[inputs.model](inputs, rounding))


def vm_set(inputs: Inputs) -> VmSet:
    """The VMs of the models `multi-vm`."""
    return VmSet(**_set_fields(inputs))


def chain(inputs: Inputs) -> Chain:
    """The chain of the models `chain` and `plan`."""
    return Chain(**_set_fields(inputs), copied_fraction=inputs.get("alpha"))


def shared_link(inputs: Inputs) -> SharedLink:
    """The link of the model `slim`."""
    ab, ba = inputs.get("load-ab"), inputs.get("load-ba")
    return SharedLink(
        inputs.get("capacity-l"),
        inputs.get("capacity-m"),
        inputs.get("capacity-n"),
        ab,
        ab if ba is None else ba,
        inputs.get("snapshot"),
        inputs.get("local"),
    )


def delta_vm(inputs: Inputs) -> DeltaVm:
    """The VM of the model `vm-delta`. UsageError: its number of rounds is swept, or is too large to be meant."""
    get = inputs.get
    rounds = get("rounds")
    if "rounds" in inputs.swept or rounds > _ROUNDS_MAX:
        raise UsageError(f"rounds: must be one number for all cells, at most {_ROUNDS_MAX}")
    return DeltaVm(get("load"), get("capacity"), get("memory"), get("ring"), get("buffer"), int(rounds))


def _set_fields(inputs: Inputs) -> dict[str, Any]:
    get = inputs.get
    if get("ratio") is None:
        dirty_bps: Any = multi_vm.dirtying_rate_bps(get("page"), get("dirty-pages")).data
    else:
        dirty_bps = get("ratio") * get("rate")
    return {
        "vms": get("vms"),
        "memory_bytes": get("memory"),
        "threshold_bytes": get("threshold"),
        "dirty_bps": dirty_bps,
        "rate_bps": get("rate"),
        "resume_s": get("resume"),
        "rounds_max": get("rounds-max"),
    }


def _slim(inputs: Inputs, _: Rounding | None) -> Iterator[Result]:
    link, sigma, within = shared_link(inputs), inputs.get("sigma"), inputs.get("within")
    yield Result("remaining_bps", "remaining capacity C_rem", "bit/s", "Eq. 1", slim.remaining_capacity_bps(link))
    yield Result("feasible", "feasible (1: the state keeps up)", "", "Eq. 2", slim.feasible(link, sigma))
    rate = slim.snapshot_rate_bps(link, within)
    yield Result("snapshot_rate_bps", "rate the snapshot needs to be in time", "bit/s", "Eq. 4", rate)
    # The parameters are good: that a migration is not possible with them is an answer, not a mistake.
    time_s = _if_possible(slim.migration_time, link, sigma)
    yield Result("migration_s", "total migration time T_all", "s", "Eq. 3", time_s)
    bound = _if_possible(slim.largest_statelet_factor, link, within)
    yield Result("sigma_max", "largest statelet factor within the time", "", "Eq. 4", bound)
    load = _if_possible(slim.largest_load_bps, link, sigma, within)
    yield Result("load_max_bps", "largest load F_ab = F_ba within the time", "bit/s", "Eq. 1, 4", load)


def _vm_delta(inputs: Inputs, _: Rounding | None) -> Iterator[Result]:
    vm = delta_vm(inputs)
    for paused, key, text in ((False, "", "dataplane on in the last round"), (True, "_paused", "dataplane off in it")):
        downtime, total = vm_delta.downtime(vm, paused=paused), vm_delta.migration_time(vm, paused=paused)
        yield Result(f"downtime{key}_s", f"downtime, {text}", "s", "V-A", downtime)
        yield Result(f"migration{key}_s", f"total migration time, {text}", "s", "V-A", total)
    yield Result(
        "wrap_load_bps", "load from which the ring wraps in every round", "bit/s", "V-A", vm_delta.wrap_load_bps(vm)
    )


def _multi_vm(inputs: Inputs, rounding: Rounding | None) -> Iterator[Result]:
    vms, how = vm_set(inputs), rounding or "ceil"
    for parallel, name in ((False, "serial"), (True, "parallel")):
        rounds = multi_vm.rounds(vms, parallel=parallel, rounding=how)
        yield Result(f"{name}_rounds", f"{name}: rounds per VM", "", "Eq. 4", rounds)
    yield Result("serial_s", "serial: total migration time", "s", "Eq. 6", multi_vm.serial_time(vms, how))
    down = multi_vm.serial_downtime(vms, how, inputs.get("critical"))
    yield Result("serial_downtime_s", "serial: downtime", "s", "Eq. 7", down)
    yield Result("parallel_s", "parallel: total migration time", "s", "Eq. 8", multi_vm.parallel_time(vms, how))
    yield Result("parallel_downtime_s", "parallel: downtime", "s", "Eq. 9", multi_vm.parallel_downtime(vms, how))
    yield Result("time_difference_s", "parallel - serial, time (real n)", "s", "Eq. 10", multi_vm.time_difference(vms))
    gain = multi_vm.downtime_difference(vms)
    yield Result("downtime_difference_s", "serial - parallel, downtime (real n)", "s", "Eq. 11", gain)
    yield Result("saturation_ratio", "lambda from which nmax is reached", "", "Eq. 4", saturation.largest_ratio(vms))
    yield Result(
        "saturation_rate_bps", "R below which nmax is reached", "bit/s", "Eq. 4", saturation.smallest_rate_bps(vms)
    )
    least = saturation.smallest_threshold_bytes(vms)
    yield Result("saturation_threshold_bytes", "Vth below which nmax is reached", "bytes", "Eq. 4", least)
    most = saturation.largest_memory_bytes(vms)
    yield Result("saturation_memory_bytes", "Vm above which nmax is reached", "bytes", "Eq. 4", most)
    yield Result("vms_max", "most VMs in parallel (M*lambda < 1)", "", "Eq. 4", saturation.largest_set(vms))


def _chain(inputs: Inputs, rounding: Rounding | None) -> Iterator[Result]:
    vnfs, how, m = chain(inputs), rounding or "real", inputs.get("m")
    c = chain_model
    yield Result("serial_s", "serial: migration time", "s", "Eq. 3", c.serial_time(vnfs, how))
    yield Result("serial_downtime_s", "serial: downtime", "s", "Eq. 4", c.serial_downtime(vnfs, how))
    yield Result("parallel_s", "parallel (m = M): migration time", "s", "Eq. 5", c.parallel_time(vnfs, how))
    yield Result("parallel_downtime_s", "parallel (m = M): downtime", "s", "Eq. 6", c.parallel_downtime(vnfs, how))
    improved = c.improved_serial_time(vnfs, how), c.improved_serial_downtime(vnfs, how)
    yield Result("improved_serial_s", "improved serial (m = 1): migration time", "s", "Eq. 9", improved[0])
    yield Result("improved_serial_downtime_s", "improved serial (m = 1): downtime", "s", "Eq. 10", improved[1])
    yield Result("mixed_s", "m-mixed, m as given: migration time", "s", "Eq. 15", c.mixed_time(vnfs, m, how))
    yield Result("mixed_downtime_s", "m-mixed, m as given: downtime", "s", "Eq. 16", c.mixed_downtime(vnfs, m, how))
    if inputs.scalar:
        for k in range(2, min(int(inputs.get("vms")), _STRATEGIES_SHOWN_MAX + 1)):
            yield Result(f"mixed_{k}_s", f"{k}-mixed: migration time", "s", "Eq. 15", c.mixed_time(vnfs, k, how))
            yield Result(f"mixed_{k}_downtime_s", f"{k}-mixed: downtime", "s", "Eq. 16", c.mixed_downtime(vnfs, k, how))
    gain = c.gain_over_serial(vnfs)
    yield Result("gain_over_serial_s", "serial - improved, time and downtime (real n)", "s", "Eq. 11, 12", gain)
    gain = c.gain_over_parallel(vnfs)
    yield Result("gain_over_parallel_s", "parallel - improved, time (real n)", "s", "Eq. 13", gain)
    longer = c.downtime_over_parallel(vnfs)
    yield Result("downtime_over_parallel_s", "improved - parallel, downtime (real n)", "s", "Eq. 14", longer)
    if inputs.get("max-downtime") is not None:
        needed = c.required_parallel_vms(vnfs, inputs.get("max-downtime"))
        yield Result("required_m_real", "m for the largest downtime, real", "", "Eq. 19", needed)
        yield Result("required_m", "m for the largest downtime", "", "Eq. 19", c.smallest_integer(needed))


def _queue(inputs: Inputs, _: Rounding | None) -> Iterator[Result]:
    channels = queueing.channel_count(inputs.get("bandwidth"), inputs.get("rate"))
    arguments = inputs.get("arrival"), inputs.get("service"), channels.filled(np.nan)
    yield Result("channels", "channels C", "", "3.1", channels)
    offered = queueing.offered_load(*arguments[:2])
    yield Result("offered_erlang", "offered load A", "erlang", "3.1", offered)
    yield Result("utilisation", "utilisation rho = A/C", "", "3.2", _utilisation(offered, channels))
    yield Result("blocking", "blocking probability, M/M/C/C", "", "3.1", queueing.blocking(*arguments))
    waits = queueing.waiting_probability(*arguments)
    yield Result("waiting_probability", "probability of waiting, M/M/C", "", "3.2", waits)
    yield Result("empty_probability_ln", "ln P0, M/M/C", "", "3.2", queueing.empty_probability_log(*arguments))
    yield Result("queue_length", "waiting requests Lq", "requests", "Eq. 22", queueing.queue_length(*arguments))
    yield Result("waiting_s", "waiting time Wq", "s", "Eq. 23", queueing.waiting_time(*arguments))
    most = queueing.largest_arrival_per_s(inputs.get("service"), channels.filled(np.nan))
    yield Result("arrival_max_per_s", "stable below arrival rate C/T", "1/s", "3.2", most)


def _utilisation(offered: Grid, channels: Grid) -> Grid:
    return masked(offered.data / channels.data, ~(np.ma.getmaskarray(offered) | np.ma.getmaskarray(channels)))


def _if_possible(quantity: Callable[..., Grid], *arguments: Any) -> Grid:
    """The quantity, masked where it is possible in no cell."""
    try:
        return quantity(*arguments)
    except UsageError:
        return np.ma.MaskedArray(np.nan, mask=True)


_MODELS: Mapping[str, Callable[[Inputs, Rounding | None], Iterator[Result]]] = {
    "slim": _slim,
    "vm-delta": _vm_delta,
    "multi-vm": _multi_vm,
    "chain": _chain,
    "queue": _queue,
}
