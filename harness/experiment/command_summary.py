"""From the record of a run of programs to its summary: no traffic figures, as nothing of ours was sent."""

from __future__ import annotations

from harness.experiment.run_record import RunRecord
from harness.experiment.unseen_summary import summarise_unseen, unseen_invariants
from harness.migration.outcome import MigrationOutcome
from harness.plan import Plan
from harness.profile.model import CONTROL, Profile
from harness.record.rundir import Folder
from harness.record.summary import CommandSummary, RunSummary


def summarise_command(
    profile: Profile, plan: Plan, record: RunRecord, folder: Folder, run_id: str, backend: str
) -> RunSummary:
    """The summary of a run. VALID: the migration completed, the client's exit status was 0, and every promise that can
    be checked without packets of ours holds."""
    assert record.command is not None
    invariants = unseen_invariants(profile, record, folder)
    failures, doubts = judge_client(record.command, record.run.mode, record.outcome)
    return summarise_unseen(profile, plan, record, run_id, backend, invariants, failures, doubts, record.command)


def judge_client(command: CommandSummary, mode: str, outcome: MigrationOutcome | None) -> tuple[list[str], list[str]]:
    """(failures, doubts). A client that fails once the migration has begun is a result of the migration; one that fails
    without a migration, or has ended before it, says nothing of it."""
    if command.timed_out:
        seconds = (command.duration_ns or 0) / 1e9
        failed = [f"client: had not ended {seconds:.3g} s after its start (load.command.deadline)"]
    elif command.exit_status != 0:
        failed = [f"client: exit status {command.exit_status}, must be 0; its output is in {command.log}"]
    else:
        failed = []
    if outcome is not None:
        return failed, []
    if mode != CONTROL:
        seconds = (command.duration_ns or 0) / 1e9
        failed.append(
            f"client: ended {seconds:.3g} s after its start, before the migration; nothing was moved under it"
        )
    return [], failed
