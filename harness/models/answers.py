"""What the commands of `harness model` do with their inputs: calculate, draw, print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from harness.errors import UsageError
from harness.models import figures_chain, figures_multi_vm, figures_slim, output, queueing, unequal_vms
from harness.models.domain import array
from harness.models.evaluate import Result, chain, delta_vm, evaluate, shared_link, vm_set
from harness.models.figure import FigureData, check_format, draw
from harness.models.figures import paper_figure
from harness.models.multi_vm import Rounding
from harness.models.parameters import PARAMETERS, Inputs, Output, read_inputs
from harness.models.printed import PAPERS, Printed, printed_numbers
from harness.models.statelet_factor import STATELET_HEADER_BYTES, image_shares, statelet_factor

if TYPE_CHECKING:
    from harness.models.simulation import Agreement

PAPER_OF = {"slim": "slim", "vm-delta": "slim", "multi-vm": "multi-vm", "chain": "chain", "queue": "chain"}
"""Where a model's figures and printed numbers come from."""


def read(model: str, given: Mapping[str, str | None], sweeps: Sequence[str] = ()) -> Inputs:
    """Inputs from the texts of a command's options, named as click names them. UsageError as `read_inputs`."""
    return read_inputs(model, {name.replace("_", "-"): text for name, text in given.items()}, sweeps)


def answer(
    inputs: Inputs,
    wanted: Output,
    *,
    rounding: Rounding | None = None,
    checks: Sequence[Agreement] = (),
    factor: Mapping[str, Any] | None = None,
    figure: int | None = None,
) -> None:
    """Results of a model as a table, JSON or CSV, and a figure where wanted. UsageError as the models."""
    if wanted.plot is not None:
        check_format(wanted.plot)
    if figure is not None and (wanted.plot is None or inputs.swept):
        raise UsageError("--figure says what --plot draws of parameters without a --sweep")
    results = evaluate(inputs, rounding)
    numbers = printed_numbers(PAPER_OF[inputs.model]) if _of_the_paper(inputs) else ()
    if wanted.as_json:
        document = output.document(inputs, results)
        document |= {"statelet_factor": factor} if factor else {}
        document |= {"simulation": output.agreement_document(checks)} if checks else {}
        click.echo(output.json_text(document | {"printed": output.printed_document(numbers)}))
    elif wanted.as_csv:
        click.echo(output.csv_text(*output.columns(inputs, results)), nl=False)
    else:
        _print(inputs, results, checks, factor, numbers)
    if wanted.plot is not None:
        draw(_figure(inputs, results, figure), wanted.plot)
        click.echo(f"figure: {wanted.plot}", err=True)


def answer_figure(paper: str, number: int, wanted: Output) -> None:
    """A paper's figure with its own parameters; to a file named after it unless something else is wanted."""
    figure = paper_figure(paper, number)
    plot = wanted.plot
    if plot is None and not (wanted.as_json or wanted.as_csv):
        plot = Path(f"{figure.name}.svg")
    if plot is not None:
        draw(figure, plot)
        click.echo(f"figure: {plot}", err=True)
    numbers = [n for n in printed_numbers(paper) if paper == "chain" or f"Fig. {number}" in n.where]
    if wanted.as_json:
        document = output.figure_document(figure)
        click.echo(output.json_text(document | {"printed": output.printed_document(numbers)}))
    elif wanted.as_csv:
        click.echo(output.csv_text(("panel", "curve", "x", "y"), figure.rows()), nl=False)
    elif numbers:
        output.print_printed(output.new_console(), numbers)


def answer_printed(as_json: bool) -> None:
    """Every printed number beside the computed one."""
    if as_json:
        click.echo(output.json_text({p: output.printed_document(printed_numbers(p)) for p in PAPERS}))
        return
    for paper in PAPERS:
        output.print_printed(output.new_console(), printed_numbers(paper), paper)


def answer_unequal(inputs: Inputs, each: Sequence[str], wanted: Output) -> None:
    """VMs that differ, serially and in parallel, by integration of Eq. 1 and 2."""
    vms = [_vm(inputs, text) for text in each]
    rate, resume = float(inputs.get("rate")), float(inputs.get("resume"))
    most = int(inputs.get("rounds-max"))
    outcomes = {
        "serial": unequal_vms.migrate_serial(vms, rate, resume, most),
        "parallel": unequal_vms.migrate_parallel(vms, rate, resume, most),
    }
    header = ("strategy", "vm", "start_s", "stop_s", "resumed_s", "downtime_s", "rounds", "sent_bits")
    rows = [
        (strategy, number, vm.start_s, vm.stop_s, vm.resumed_s, vm.downtime_s, vm.rounds, vm.sent_bits)
        for strategy, outcome in outcomes.items()
        for number, vm in enumerate(outcome.vms, 1)
    ]
    if wanted.as_json:
        sets = {s: {"time_s": o.time_s, "downtime_s": o.downtime_s} for s, o in outcomes.items()}
        vms_of = [dict(zip(header, row, strict=True)) for row in rows]
        click.echo(output.json_text({"model": "multi-vm", "sets": sets, "vms": vms_of}))
    elif wanted.as_csv:
        click.echo(output.csv_text(header, rows), nl=False)
    else:
        table = output.new_table("unequal VMs, Eq. 1 and 2 integrated")
        for name in header:
            table.add_column(name, justify="right")
        for row in rows:
            table.add_row(*(f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in row))
        console = output.new_console()
        console.print(table)
        for strategy, outcome in outcomes.items():
            text = f"{strategy}: total migration time {outcome.time_s:.6g} s, downtime {outcome.downtime_s:.6g} s"
            console.print(text, highlight=False)


def image_factor(image: str, statelets: Sequence[str], packet: str) -> dict[str, Any]:
    """Statelet factor of an image: of payloads, as Table II counts, and with the headers of the stream."""
    workload = []
    for text in statelets:
        name, equals, number = text.partition("=")
        top, slash, bottom = number.partition("/")
        try:
            workload.append((name, float(top) / float(bottom) if slash else float(top)))
        except (ValueError, ZeroDivisionError):
            equals = ""
        if not equals:
            raise UsageError(f"--statelet {text!r:.60}: write NAME=N, N statelets per packet, such as udp_out=1/2")
    shares = image_shares(image, workload)
    size = next(p for p in PARAMETERS["slim"] if p.name == "snapshot").parse(packet)
    return {
        "image": image,
        "packet_bytes": size,
        "header_bytes": STATELET_HEADER_BYTES,
        "workload": {share.name: share.per_packet for share in shares},
        "payload": float(statelet_factor(shares, size)),
        "on_the_stream": float(statelet_factor(shares, size, STATELET_HEADER_BYTES)),
    }


def simulated(inputs: Inputs, replications: int | None, seed: int) -> list[Agreement]:
    """The model's process simulated, beside its closed forms; nothing without replications."""
    if replications is None:
        return []
    if not inputs.scalar:
        raise UsageError("--simulate checks one set of parameters: leave out --sweep")
    # Statistics take as long to load as everything else together.
    from harness.models.simulation import simulate_migration, simulate_queue

    if inputs.model == "queue":
        service = float(inputs.get("arrival")), float(inputs.get("service"))
        channels = int(queueing.channel_count(inputs.get("bandwidth"), inputs.get("rate")))
        lost = simulate_queue(*service, channels, discipline="lost", replications=replications, seed=seed)
        return lost + simulate_queue(*service, channels, discipline="queued", replications=replications, seed=seed)
    page = 4096 if inputs.get("page") is None else int(inputs.get("page"))
    if inputs.model == "chain":
        m = int(inputs.get("m"))
        found = simulate_migration(
            chain(inputs), "mixed", parallel_vms=m, page_bytes=page, replications=replications, seed=seed
        )
        return _named(f"{m}-mixed, whole rounds", found)
    vms = vm_set(inputs)
    serial = simulate_migration(vms, "serial", page_bytes=page, replications=replications, seed=seed)
    parallel = simulate_migration(vms, "parallel", page_bytes=page, replications=replications, seed=seed)
    return _named("serial", serial) + _named("parallel", parallel)


def _named(prefix: str, agreements: Sequence[Agreement]) -> list[Agreement]:
    return [replace(a, quantity=f"{prefix}: {a.quantity}") for a in agreements]


def _of_the_paper(inputs: Inputs) -> bool:
    """Whether every parameter is at its default: then the paper's printed numbers belong beside the results."""
    if not inputs.scalar:
        return False
    defaults = read_inputs(inputs.model, {})
    return all(
        (a is None and b is None) or (a is not None and b is not None and bool(np.array_equal(a, b)))
        for a, b in ((inputs.values[name], defaults.values[name]) for name in inputs.values)
    )


def _print(
    inputs: Inputs,
    results: Sequence[Result],
    checks: Sequence[Agreement],
    factor: Mapping[str, Any] | None,
    numbers: Sequence[Printed],
) -> None:
    console = output.new_console()
    if factor:
        workload = ", ".join(f"{name} {n:.4g}" for name, n in factor["workload"].items())
        console.print(
            f"statelet factor of {factor['image']}: {factor['payload']:.5f} of payloads, {factor['on_the_stream']:.5f} "
            f"with headers of {factor['header_bytes']} bytes; statelets per packet: {workload}",
            highlight=False,
        )
    output.print_results(console, inputs, results)
    if checks:
        output.print_agreements(console, checks)
    if numbers:
        output.print_printed(console, numbers)


def _figure(inputs: Inputs, results: Sequence[Result], number: int | None) -> FigureData:
    """Of one sweep its results; else the paper's figure, drawn with these parameters."""
    if len(inputs.swept) == 1:
        return output.sweep_figure(inputs, results)
    if inputs.swept:
        raise UsageError("a plot shows one --sweep; use --csv or --json for a grid")
    if inputs.model == "slim":
        return figures_slim.statelet_factor_bound(shared_link(inputs))
    if inputs.model == "vm-delta":
        return figures_slim.delta_migration(delta_vm(inputs))
    if inputs.model == "multi-vm":
        return figures_multi_vm.figure(number or 1, vm_set(inputs))
    if inputs.model == "queue":
        rate = array(inputs.get("rate"))
        times = [float(inputs.get("service"))]
        return figures_chain.queues_of(times, float(inputs.get("bandwidth")), float(rate))
    drawn = {2: figures_chain.comparison, 3: figures_chain.migration_time, 4: figures_chain.downtime}
    return drawn.get(number or 2, figures_chain.queues)(chain(inputs))


def _vm(inputs: Inputs, text: str) -> unequal_vms.Vm:
    """A VM from KEY=VALUE,...; what is left out is as the options of the whole set say."""
    values = {name: float(inputs.get(name)) for name in ("memory", "page", "dirty-pages", "threshold")}
    rate = float("inf")
    for part in text.split(","):
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or key not in (*values, "rate"):
            raise UsageError(f"--vm {text!r:.60}: write KEY=VALUE,... with {', '.join(values)}, rate")
        parsed = inputs.parameter(key).parse(value)
        if key == "rate":
            rate = parsed
        else:
            values[key] = parsed
    return unequal_vms.Vm(values["memory"], values["page"], values["dirty-pages"], values["threshold"], rate)
