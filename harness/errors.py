"""Exceptions that end a command, each with the exit code of the command line.

A message is one line: what went wrong, where, and what to do about it.
"""

from __future__ import annotations


class HarnessError(Exception):
    """Base of every expected failure; `exit_code` becomes the exit code of the process."""

    exit_code = 1


class RunFailed(HarnessError):
    """A run ended, but a promise of the migration was broken, or the run itself could not finish."""

    exit_code = 1


class UsageError(HarnessError):
    """The command line or an argument is wrong."""

    exit_code = 2


class ProfileError(UsageError):
    """A profile cannot be used; the message names the key's path and, where one is near, the valid name."""


class LimitExceeded(HarnessError):
    """A limit or a regression bound given by the user was breached."""

    exit_code = 3


class MachineError(HarnessError):
    """This machine lacks something (a privilege, a kernel feature, memory); the message says which."""

    exit_code = 4


class CleanupError(HarnessError):
    """Something this program created could not be removed."""

    exit_code = 5


class ProtocolError(HarnessError):
    """A peer sent bytes that do not parse, authenticate or fit the present phase."""


class DeadlineExceeded(HarnessError):
    """A wait ended without the awaited event; the message names the event and the deadline."""
