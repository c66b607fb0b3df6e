"""What a server's answer to a write means for the lines. Pure."""

from __future__ import annotations

import json

from harness.errors import HarnessError

STORED = 204
_OF_THE_LINES = frozenset({400, 413, 422})
_FOR_THE_MOMENT = frozenset({0, 408, 425, 429})
_REASON_CHARACTERS = 500


class Rejected(HarnessError):
    """The server will not take these lines; with fewer of them it may."""


class Unavailable(HarnessError):
    """No answer, or one that may be different in a moment."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Refused(HarnessError):
    """The server takes nothing of us until somebody changes something (token, bucket, address)."""


def judged(status: int, text: str, retry_after: str | None) -> HarnessError | None:
    """None when the lines are stored, which only 204 says; else the error to raise."""
    if status == STORED:
        return None
    reason = f"{reason_of(text) or 'no reason given'} (HTTP {status})" if status else reason_of(text) or "no answer"
    if status in _OF_THE_LINES:
        return Rejected(reason)
    if status in _FOR_THE_MOMENT or status >= 500:
        return Unavailable(reason, _seconds(retry_after))
    return Refused(reason)


def reason_of(text: str) -> str:
    """The reason in a reply's body, in one printable line: InfluxDB 2 calls it `message`, 1 and 3 `error`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        parts = [document.get("message") or document.get("error")]
        details = document.get("data")
        if isinstance(details, list) and details and isinstance(details[0], dict):
            # InfluxDB 3 tells of each line by itself.
            parts.append(details[0].get("error_message"))
        text = ": ".join(str(part) for part in parts if part) or text
    line = " ".join(text.split())
    return "".join(character if character.isprintable() else "?" for character in line)[:_REASON_CHARACTERS]


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else None
