"""`harness soak`"""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from harness.errors import UsageError
from harness.profile import load_profile
from harness.soak.soak import Soak
from harness.soak.table import promises_table, summary_table


@click.command()
@click.argument("profile", type=click.Path(path_type=Path))
@click.option("--count", type=click.IntRange(1, 1_000_000), default=500, show_default=True, help="Schedules in all.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=1, show_default=True, help="Of the first schedule.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. load.rate=300M.")
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), help="Folder; a soak found there goes on.")
def soak(profile: Path, count: int, seed: int, overrides: tuple[str, ...], results: Path | None) -> int:
    """Run seeded schedules of faults on one standing testbed and check every promise after each; exit code 1 where one
    was broken. Interrupted, the same command goes on where it was."""
    from harness.doctor.cache import ensure_warm
    from harness.provision.facts import gather_facts
    from harness.provision.unprivileged import enter

    loaded = load_profile(profile, overrides)
    if loaded.task:
        raise UsageError(f"{profile}: task: [[task]]s are for `harness run` and `harness sweep`; take them out")
    enter()
    gather_facts().require_testbed()
    ensure_warm(lambda text: click.echo(text, err=True))
    folder = results or Path(loaded.record.results) / f"soak-{loaded.name}-seed{seed}"
    entries = Soak(loaded, count, seed, folder, click.echo).carry_out()
    console = Console(width=140, highlight=False, file=sys.stdout)
    console.print(summary_table(entries))
    console.print(promises_table(entries))
    for entry in entries:
        if entry.verdict != "kept":
            click.echo(f"{entry.verdict}: seed {entry.seed} ({entry.mode}), {folder / entry.folder}")
    return 1 if any(entry.verdict == "broken" for entry in entries) else 0
