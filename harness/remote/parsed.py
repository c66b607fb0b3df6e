"""Answers of an agent, which may be anything until they are parsed."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from harness.errors import ProtocolError

Parsed = TypeVar("Parsed")


def parsed(kind: type[Parsed], answer: Any, what: str) -> Parsed:
    """A dataclass or plain value from its JSON form; ProtocolError, which begins with `what`, where it is none."""
    try:
        return TypeAdapter(kind).validate_python(answer)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise ProtocolError(f"{what}: {where}{': ' if where else ''}{fault['msg']}") from None
