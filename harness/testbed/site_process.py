"""A process on another host, as a task of the testbed: owned there, ended from here."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.provision.task import Change, Context
from harness.provision.tasks.process import Process
from harness.testbed.site import Site, SiteLost


class SiteProcess(Process):
    """As `Process`; the record of what is owned is the host's."""

    def __init__(
        self,
        site: Site,
        node: str,
        netns: str,
        title: str,
        argv: Sequence[str],
        configuration: Mapping[str, Any],
        log_path: Path,
    ) -> None:
        super().__init__(node, netns, title, argv, configuration, log_path)
        self._site = site

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        self.process = self._site.spawn(self.node, self.title, self.argv, self.configuration, self.log_path)

    def undo(self, context: Context) -> None:
        if self.process is not None:
            with contextlib.suppress(SiteLost):  # it ended with the host's connection
                self.process.stop()
            self.process = None
