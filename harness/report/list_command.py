"""`harness list`: the runs of a results folder, filtered and sorted, one line each or as a file."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import click

from harness.errors import UsageError

RESULTS = Path("results")
_SORTS = {
    "started": "started_utc",
    "profile": "profile",
    "mode": "mode",
    "verdict": "verdict",
    "loss": "loss_s",
    "late": "rtt_late_s",
    "duration": "duration_s",
}


@click.command("list")
@click.argument("results", default=RESULTS, type=click.Path(path_type=Path))
@click.option("--profile", "profiles", multiple=True, metavar="NAME", help="Only runs of this profile; repeatable.")
@click.option("--mode", "modes", multiple=True, metavar="NAME", help="Only runs in this mode; repeatable.")
@click.option(
    "--verdict",
    "verdicts",
    multiple=True,
    type=click.Choice(["VALID", "INVALID", "FAILED"], case_sensitive=False),
    help="Only runs so judged; repeatable.",
)
@click.option("--git", metavar="REVISION", help="Only runs of this revision of the program (its first digits).")
@click.option("--sweep", metavar="NAME", help="Only runs of the sweep whose directory's name contains this.")
@click.option("--since", metavar="UTC", help="Only runs begun then or later: 2026-11-21 or 2026-11-21T14:00.")
@click.option("--until", metavar="UTC", help="Only runs begun by then; a day counts as a whole.")
@click.option("--sort", type=click.Choice(list(_SORTS)), default="started", show_default=True)
@click.option("--reverse", is_flag=True, help="The largest, or latest, first.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N only.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False), help="Write a CSV file instead.")
@click.option(
    "--parquet", "parquet_file", type=click.Path(path_type=Path, dir_okay=False), help="Write a Parquet file instead."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document to standard output.")
def list_command(
    results: Path,
    profiles: tuple[str, ...],
    modes: tuple[str, ...],
    verdicts: tuple[str, ...],
    git: str | None,
    sweep: str | None,
    since: str | None,
    until: str | None,
    sort: str,
    reverse: bool,
    limit: int | None,
    csv_file: Path | None,
    parquet_file: Path | None,
    as_json: bool,
) -> int:
    """List the runs below RESULTS, those of sweeps included.

    Directories that cannot be read are listed with the reason, unless a filter asks for what only a run has.
    """
    from harness.record.index import read_index
    from harness.report.run_list import Wanted, choose

    first = None if since is None else _moment(since, "--since")[0]
    last = None if until is None else _moment(until, "--until")[1]
    _require_folder_of_results(results)
    wanted = Wanted(profiles, modes, tuple(text.upper() for text in verdicts), git or "", sweep or "", first, last)
    rows = choose(read_index(results), wanted, _SORTS[sort], reverse, limit)
    if csv_file is not None or parquet_file is not None:
        from harness.report.run_export import write_csv, write_parquet

        if csv_file is not None:
            write_csv(csv_file, rows)
        if parquet_file is not None:
            write_parquet(parquet_file, rows)
    if as_json:
        click.echo(json.dumps({"results": str(results), "runs": [row.model_dump() for row in rows]}, allow_nan=False))
    elif csv_file is None and parquet_file is None:
        from harness.report.run_list import lines

        click.echo("\n".join(lines(rows)))
    return 0


def _require_folder_of_results(results: Path) -> None:
    from harness.record.rundir import MANIFEST
    from harness.record.sweep import is_sweep

    if is_sweep(results):
        raise UsageError(
            f"{results}: a sweep; list the folder it is in: harness list {results.parent} --sweep {results.name}"
        )
    if (results / MANIFEST).is_file():
        raise UsageError(f"{results}: one experiment; 'harness show' prints it")


def _moment(text: str, option: str) -> tuple[str, str]:
    """(first, last) second of what is named, in UTC; a day has 86400 of them."""
    try:
        first = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r:.40}: not a date; write 2026-11-21 or 2026-11-21T14:00 (UTC)") from None
    if first.tzinfo is not None:
        raise UsageError(f"{option} {text!r:.40}: times are UTC; leave the zone out")
    last = first + timedelta(days=1) - timedelta(seconds=1) if len(text) <= len("2026-11-21") else first
    return tuple(moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (first, last))  # type: ignore[return-value]
