"""`harness model`: the papers' models from the command line. Every command parses, calls one function and prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.errors import LimitExceeded, UsageError
from harness.models.parameters import PARAMETERS, Output

if TYPE_CHECKING:
    from harness.models.multi_vm import Rounding

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _outputs(command: _Command) -> _Command:
    for option in (
        click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw to a .png, .svg or .pdf."),
        click.option("--csv", "as_csv", is_flag=True, help="Print CSV, one row per cell or point."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document to standard output."),
    ):
        command = option(command)
    return command


def _parameters(model: str) -> Callable[[_Command], _Command]:
    """An option for each parameter of a model."""

    def decorate(command: _Command) -> _Command:
        for p in reversed(PARAMETERS[model]):
            default = f" [default: {p.default}]" if p.default else ""
            command = click.option(f"--{p.name}", metavar=p.kind.upper(), help=p.help + default)(command)
        return command

    return decorate


_VM_HELP = (
    "A VM of its own: memory, page, dirty-pages, threshold, rate (its largest). Once per VM, in serial order; what is "
    "left out is as the options say."
)
_SWEEP = click.option(
    "--sweep", "sweeps", multiple=True, metavar="NAME=FROM:TO:COUNT", help="Vary a parameter; several make a grid."
)
_ROUNDS = click.option(
    "--rounds", type=click.Choice(["ceil", "real"]), help="Whole or un-rounded numbers of rounds; else the paper's."
)
_SIMULATE = click.option("--simulate", type=int, metavar="N", help="Check by N discrete-event replications.")
_SEED = click.option("--seed", type=int, default=1, show_default=True, help="Seed of the simulation.")


@click.group(invoke_without_command=True)
@click.option("--paper", type=click.Choice(["slim", "multi-vm", "chain"]), help="With --figure: which paper.")
@click.option("--figure", "number", type=int, metavar="N", help="Draw the paper's figure N.")
@_outputs
@click.pass_context
def model(
    context: click.Context, paper: str | None, number: int | None, as_json: bool, as_csv: bool, plot: Path | None
) -> int:
    """Calculate what the papers' models say of a migration.

    Sizes are written 1GiB or 1GB, rates 1Gbit or 600M, times 300ms.
    """
    if context.invoked_subcommand is not None:
        if number is not None or paper is not None or as_json or as_csv or plot is not None:
            raise UsageError("options of 'model' itself draw a figure: write those of a model behind its name")
        return 0
    if number is None or paper is None:
        if number is None and paper is None and not (as_json or as_csv or plot):
            click.echo(context.get_help())
            return 0
        raise UsageError("a figure needs both --paper and --figure")
    from harness.models.answers import answer_figure

    answer_figure(paper, number, Output(as_json, as_csv, plot))
    return 0


@model.command("slim")
@_parameters("slim")
@_SWEEP
@click.option("--image", metavar="IMAGE", help="Take sigma from the statelets of an image: name, folder or image.toml.")
@click.option("--statelet", "statelets", multiple=True, metavar="NAME=N", help="With --image: statelets per packet.")
@click.option("--packet", metavar="SIZE", help="With --image: mean packet size. [default: 512B]")
@_outputs
def slim_command(
    sweeps: tuple[str, ...],
    image: str | None,
    statelets: tuple[str, ...],
    packet: str | None,
    as_json: bool,
    as_csv: bool,
    plot: Path | None,
    **given: str | None,
) -> int:
    """Snapshot and statelets over a shared link: capacity, time, largest statelet factor (SliM, Eq. 1-4, Fig. 6)."""
    from harness.models.answers import answer, image_factor, read

    factor = None
    if image is not None:
        if given.get("sigma") is not None:
            raise UsageError("give either --sigma or --image, which calculates it")
        factor = image_factor(image, statelets, packet or "512B")
        given["sigma"] = repr(factor["on_the_stream"])
    elif statelets or packet:
        raise UsageError("--statelet and --packet describe the workload of an --image")
    answer(read("slim", given, sweeps), Output(as_json, as_csv, plot), factor=factor)
    return 0


@model.command("vm-delta")
@_parameters("vm-delta")
@_SWEEP
@_outputs
def vm_delta_command(
    sweeps: tuple[str, ...], as_json: bool, as_csv: bool, plot: Path | None, **given: str | None
) -> int:
    """Lower bound of delta-based VM migration with a ring buffer (SliM, Section V-A, Fig. 7)."""
    from harness.models.answers import answer, read

    answer(read("vm-delta", given, sweeps), Output(as_json, as_csv, plot))
    return 0


@model.command("multi-vm")
@_parameters("multi-vm")
@click.option("--vm", "each", multiple=True, metavar="KEY=VALUE,...", help=_VM_HELP)
@_SWEEP
@_ROUNDS
@_SIMULATE
@_SEED
@click.option("--figure", type=click.IntRange(1, 7), help="With --plot: the figure to draw with these parameters.")
@_outputs
def multi_vm_command(
    each: tuple[str, ...],
    sweeps: tuple[str, ...],
    rounds: Rounding | None,
    simulate: int | None,
    seed: int,
    figure: int | None,
    as_json: bool,
    as_csv: bool,
    plot: Path | None,
    **given: str | None,
) -> int:
    """Several VMs, one after the other or all at once: equal ones (Eq. 3-11, Figs. 1-7), or each as --vm says."""
    from harness.models.answers import answer, answer_unequal, read, simulated

    inputs = read("multi-vm", given, sweeps)
    if each:
        if sweeps or rounds or simulate is not None or figure is not None or plot is not None:
            raise UsageError("--vm integrates one case: leave out --sweep, --rounds, --simulate, --figure and --plot")
        answer_unequal(inputs, each, Output(as_json, as_csv, None))
        return 0
    checks = simulated(inputs, simulate, seed)
    answer(inputs, Output(as_json, as_csv, plot), rounding=rounds, checks=checks, figure=figure)
    return 0


@model.command("chain")
@_parameters("chain")
@_SWEEP
@_ROUNDS
@_SIMULATE
@_SEED
@click.option("--figure", type=click.IntRange(2, 5), help="With --plot: the figure to draw with these parameters.")
@_outputs
def chain_command(
    sweeps: tuple[str, ...],
    rounds: Rounding | None,
    simulate: int | None,
    seed: int,
    figure: int | None,
    as_json: bool,
    as_csv: bool,
    plot: Path | None,
    **given: str | None,
) -> int:
    """A service chain: improved serial and m-mixed migration, and the m for a downtime (Eq. 1-19, Figs. 2-4)."""
    from harness.models.answers import answer, read, simulated

    inputs = read("chain", given, sweeps)
    checks = simulated(inputs, simulate, seed)
    answer(inputs, Output(as_json, as_csv, plot), rounding=rounds, checks=checks, figure=figure)
    return 0


@model.command("queue")
@_parameters("queue")
@_SWEEP
@_SIMULATE
@_SEED
@_outputs
def queue_command(
    sweeps: tuple[str, ...],
    simulate: int | None,
    seed: int,
    as_json: bool,
    as_csv: bool,
    plot: Path | None,
    **given: str | None,
) -> int:
    """Migration requests at C channels: blocking, queue length, waiting time (service chain, Section 3, Fig. 5)."""
    from harness.models.answers import answer, read, simulated

    inputs = read("queue", given, sweeps)
    answer(inputs, Output(as_json, as_csv, plot), checks=simulated(inputs, simulate, seed))
    return 0


@model.command("printed")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document to standard output.")
def printed_command(as_json: bool) -> int:
    """List the numbers the papers print beside what was computed."""
    from harness.models.answers import answer_printed

    answer_printed(as_json)
    return 0


@model.command("plan")
@_parameters("plan")
@click.option("--rounds", type=click.Choice(["ceil", "real"]), default="ceil", show_default=True, help="Of pre-copy.")
@_outputs
def plan_command(rounds: Rounding, as_json: bool, as_csv: bool, plot: Path | None, **given: str | None) -> int:
    """Choose the strategy and the m that keep an SLA, and say what they cost. Exit code 3: none keeps it."""
    from harness.models.answers import read
    from harness.models.answers_plan import answer_plan

    decision = answer_plan(read("plan", given), rounds, Output(as_json, as_csv, plot))
    if decision.chosen is None:
        raise LimitExceeded(decision.explanation)
    return 0


@model.command("overlay")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@_outputs
def overlay_command(results: tuple[Path, ...], as_json: bool, as_csv: bool, plot: Path | None) -> int:
    """Lay the SliM model over the measured migrations of run directories: where it is off, and why.

    RESULTS are directories of runs or of experiments.
    """
    from harness.models.answers_overlay import answer_overlay

    answer_overlay(results, Output(as_json, as_csv, plot))
    return 0
