"""An experiment whose runs are decided on as they come, all of them on one testbed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from harness.experiment.experiment import LOG, LOG_WIDTH, Experiment
from harness.plan import PlannedRun
from harness.profile.model import Profile
from harness.record.rundir import SUMMARY, Folder, RunDirectory
from harness.record.summary import RunSummary, read_summary
from harness.testbed.testbed import Testbed


class StandingExperiment(Experiment):
    """Use `one` within the block of `one_by_one`."""

    @contextmanager
    def one_by_one(self) -> Iterator[RunDirectory]:
        """who decides on the runs as they come, with `one`: provision, and tear down at the end."""
        directory = self._prepare()
        reason = "ended early"
        with directory.file(LOG).open("a", encoding="utf-8", errors="backslashreplace") as file:
            self._console = Console(file=file, highlight=False, width=LOG_WIDTH)
            try:
                self._testbed.provision()
                self._standing = True
                yield directory
                reason = ""
            finally:
                try:
                    self._testbed.teardown()
                finally:
                    self._finish(directory, reason)

    def one(self, directory: RunDirectory, profile: Profile, run: PlannedRun) -> tuple[Folder, RunSummary]:
        """Carry out one run of a profile that differs from the experiment's in what needs no other testbed."""
        self._profile = profile
        self._one(directory, run)
        folder = Folder(directory.path / self._runs[-1].folder)
        return folder, read_summary(folder.path / SUMMARY, RunSummary)

    @property
    def standing(self) -> bool:
        """Whether the testbed is as it shall be; after a run that ended with an error it is built anew for the next."""
        return self._standing

    @property
    def testbed(self) -> Testbed:
        """The testbed of all runs."""
        return self._testbed
