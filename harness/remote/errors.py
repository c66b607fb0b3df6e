"""What can become of a host and of the way to it; apart from the connection itself, which loads the SSH library."""

from __future__ import annotations

from harness.errors import MachineError
from harness.testbed.site import SiteLost


class HostUnusable(MachineError):
    """A host cannot be reached or used; the message names the host and what to do."""


class ConnectionLost(SiteLost):
    """A connection that stood is gone."""
