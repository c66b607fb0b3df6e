"""Parameters of the models as a user writes them: names, units, defaults, single values and sweeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.errors import UsageError
from harness.models.domain import FloatArray
from harness.units import UnitError, parse_load, parse_size, parse_time

Kind = Literal["rate", "size", "time", "number", "count"]
CELLS_MAX = 4_000_000


@dataclass(frozen=True)
class Parameter:
    """`default` as the user would write it; '' is 'not given'. Values are bit/s, bytes, seconds or plain numbers."""

    name: str
    kind: Kind
    default: str
    help: str

    @property
    def key(self) -> str:
        """Its name in JSON and CSV: with the unit the values have there."""
        suffix = {"rate": "_bps", "size": "_bytes", "time": "_s", "number": "", "count": ""}[self.kind]
        return self.name.replace("-", "_") + suffix

    def parse(self, text: str) -> float:
        """The value of one text. UsageError names the parameter and the accepted units."""
        try:
            return _PARSERS[self.kind](text.strip())
        except (UnitError, ValueError) as error:
            raise UsageError(f"{self.name}: {error}") from None


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r:.40} is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{text!r:.40} is not a finite number")
    return value


def _count(text: str) -> float:
    value = _number(text)
    if value != math.floor(value):
        raise ValueError(f"{text!r:.40} is not a whole number")
    return value


_PARSERS: Mapping[str, Callable[[str], float]] = {
    "rate": lambda text: float(parse_load(text)),
    "size": lambda text: float(parse_size(text)),
    "time": lambda text: parse_time(text) / 1e9,
    "number": _number,
    "count": _count,
}

_MULTI = (
    Parameter("vms", "count", "8", "M, number of VMs."),
    Parameter("memory", "size", "1GiB", "Vm, memory of each VM."),
    Parameter("threshold", "size", "100MiB", "Vth, stop-and-copy threshold."),
    Parameter("page", "size", "4096B", "P, memory page size."),
    Parameter("dirty-pages", "number", "2500", "D, page dirtying rate in pages/s."),
    Parameter("ratio", "number", "", "lambda = P*D/R, in place of page size and dirtying rate."),
    Parameter("rate", "rate", "1Gbit", "R, bit rate of the channel."),
    Parameter("resume", "time", "100ms", "Tres, time to resume a VM at the destination."),
    Parameter("rounds-max", "count", "8", "nmax, largest number of rounds."),
)


def _with_defaults(parameters: Sequence[Parameter], **defaults: str) -> tuple[Parameter, ...]:
    renamed = {key.replace("_", "-"): value for key, value in defaults.items()}
    return tuple(Parameter(p.name, p.kind, renamed.get(p.name, p.default), p.help) for p in parameters)


_CHAIN = (
    *_with_defaults(_MULTI, vms="5", memory="1GB", threshold="100MB", page="4000B"),
    Parameter("alpha", "number", "1", "Part of the memory that post-copy moves, Vth/Vm < alpha <= 1."),
)
_CHANNEL = Parameter("bandwidth", "rate", "10Gbit", "B, bit rate that all requests share: C = floor(B/R).")
_ARRIVAL = Parameter("arrival", "number", "0.1", "lambda, arrival rate in requests/s.")

PARAMETERS: Mapping[str, tuple[Parameter, ...]] = {
    "slim": (
        Parameter("load-ab", "rate", "300M", "F_ab, dataplane load from A to B."),
        Parameter("load-ba", "rate", "", "F_ba, dataplane load from B to A; as F_ab where left out."),
        Parameter("capacity-l", "rate", "10Gbit", "C_l, path between the source and the networks."),
        Parameter("capacity-m", "rate", "1Gbit", "C_m, path shared with the state transfer."),
        Parameter("capacity-n", "rate", "10Gbit", "C_n, path between the destination and the networks."),
        Parameter("snapshot", "size", "20MB", "S, snapshot size."),
        Parameter("local", "time", "300ms", "T_B, time to take and install the snapshot."),
        Parameter("sigma", "number", "0.025", "Statelet factor; 1 is packet duplication."),
        Parameter("within", "time", "2s", "T_all, total migration time to keep to."),
    ),
    "vm-delta": (
        Parameter("load", "rate", "500M", "r_DP, dataplane load."),
        Parameter("capacity", "rate", "1Gbit", "r_c, capacity of the link."),
        Parameter("memory", "size", "1GiB", "m_0, memory of the VM (the paper does not print it)."),
        Parameter("ring", "count", "65536", "c_mbuf, packets in the ring buffer."),
        Parameter("buffer", "size", "1400B", "buf_sz, bytes of a buffer."),
        Parameter("rounds", "count", "10", "Rounds of transfer, the last with the VM stopped."),
    ),
    "multi-vm": (
        *_MULTI,
        Parameter("critical", "count", "", "m, VMs the service needs, migrated first; all M where left out."),
    ),
    "chain": (
        *_CHAIN,
        Parameter("m", "count", "2", "VNFs migrated in parallel by the m-mixed strategy."),
        Parameter("max-downtime", "time", "", "Largest downtime: gives the m that keeps it (Eq. 19)."),
    ),
    "queue": (
        _ARRIVAL,
        Parameter("service", "time", "40.64s", "T, mean service time: the migration time of a request."),
        _CHANNEL,
        Parameter("rate", "rate", "1Gbit", "R, bit rate of a request."),
    ),
    "plan": (
        *_CHAIN,
        _CHANNEL,
        _ARRIVAL,
        Parameter("max-downtime", "time", "", "SLA: largest downtime of the service."),
        Parameter("max-blocking", "number", "", "SLA: largest probability that a request is blocked."),
        Parameter("max-waiting", "time", "", "SLA: largest mean waiting time, where requests are queued."),
    ),
}


@dataclass(frozen=True)
class Output:
    """How an answer is wanted: JSON, CSV or else a table, and a figure's file. UsageError: both JSON and CSV."""

    as_json: bool = False
    as_csv: bool = False
    plot: Path | None = None

    def __post_init__(self) -> None:
        if self.as_json and self.as_csv:
            raise UsageError("give either --json or --csv")


@dataclass(frozen=True)
class Inputs:
    """Values of a model's parameters by name: scalars, or arrays of one common shape for those named in `swept`."""

    model: str
    values: Mapping[str, FloatArray | None]
    swept: tuple[str, ...] = ()

    def get(self, name: str) -> Any:
        """The value, None where it was not given."""
        return self.values[name]

    @property
    def scalar(self) -> bool:
        return not self.swept

    def parameter(self, name: str) -> Parameter:
        return next(p for p in PARAMETERS[self.model] if p.name == name)


def read_inputs(model: str, given: Mapping[str, str | None], sweeps: Sequence[str] = ()) -> Inputs:
    """Texts of the options by parameter, and sweeps `NAME=FROM:TO:COUNT` or `NAME=A,B,C`; several make a grid.

    UsageError: unknown name, a text that does not parse, a sweep without values, too many cells.
    """
    parameters = {p.name: p for p in PARAMETERS[model]}
    values: dict[str, FloatArray | None] = {}
    for name, parameter in parameters.items():
        text = given.get(name)
        text = parameter.default if text is None else text
        values[name] = np.asarray(parameter.parse(text)) if text else None
    axes: dict[str, FloatArray] = {}
    for sweep in sweeps:
        name, equals, text = sweep.partition("=")
        if not equals or name not in parameters:
            known = ", ".join(parameters)
            raise UsageError(f"sweep {sweep!r:.60}: write NAME=FROM:TO:COUNT or NAME=A,B,C with one of {known}")
        if name in axes:
            raise UsageError(f"sweep {name}: given twice")
        axes[name] = _axis(parameters[name], text)
    cells = math.prod(axis.size for axis in axes.values())
    if cells > CELLS_MAX:
        raise UsageError(f"the sweeps make {cells:,} cells; at most {CELLS_MAX:,} are calculated at once")
    for name, grid in zip(axes, np.meshgrid(*axes.values(), indexing="ij"), strict=True):
        values[name] = grid.ravel()
    return Inputs(model, values, tuple(axes))


def _axis(parameter: Parameter, text: str) -> FloatArray:
    parts = text.split(":")
    if len(parts) == 1:
        return np.array([parameter.parse(part) for part in text.split(",")])
    if len(parts) != 3:
        raise UsageError(f"sweep {parameter.name}={text:.60}: write FROM:TO:COUNT")
    first, last = parameter.parse(parts[0]), parameter.parse(parts[1])
    if not parts[2].isascii() or not parts[2].isdigit() or not 1 <= int(parts[2]) <= CELLS_MAX:
        raise UsageError(f"sweep {parameter.name}={text:.60}: COUNT must be a whole number, 1 to {CELLS_MAX:,}")
    axis = np.linspace(first, last, int(parts[2]))
    if parameter.kind == "count" and (axis != np.floor(axis)).any():
        raise UsageError(f"sweep {parameter.name}={text:.60}: makes values that are not whole; choose another COUNT")
    return axis
