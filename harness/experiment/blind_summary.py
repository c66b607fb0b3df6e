"""The summary of a run whose load generator or echoserver did not live to write its records: INVALID unless something
is known to have failed.
"""

from __future__ import annotations

from harness.experiment.run_record import RunRecord
from harness.experiment.unseen_summary import summarise_unseen, unseen_invariants
from harness.plan import Plan
from harness.profile.model import Profile
from harness.record.rundir import Folder
from harness.record.summary import RunSummary


def summarise_blind(
    profile: Profile, plan: Plan, record: RunRecord, folder: Folder, run_id: str, backend: str
) -> RunSummary:
    """State and migration are judged as in every run; of packets nothing is known."""
    invariants = unseen_invariants(profile, record, folder)
    return summarise_unseen(profile, plan, record, run_id, backend, invariants)
