"""Parameters of an image, checked against its image.toml. Pure.

image.toml lists them as `[parameters.<name>]` with `default` (whose type is the parameter's), and optionally `minimum`,
`maximum` and `choices`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.profile.checks import Problem, suggestion


def parameter_problems(given: Mapping[str, Any], description: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with the profile's `vnf.parameters` for an image whose image.toml is `description`."""
    declared = description.get("parameters", {})
    for name, value in given.items():
        path = f"vnf.parameters.{name}"
        if name not in declared:
            yield Problem(path, f"unknown parameter{suggestion(name, tuple(declared))}")
            continue
        message = _refusal(value, declared[name])
        if message:
            yield Problem(path, f"{value!r} {message}")


def _refusal(value: object, declared: Mapping[str, Any]) -> str:
    default = declared.get("default")
    whole_for_real = isinstance(default, float) and type(value) is int
    if default is not None and type(value) is not type(default) and not whole_for_real:
        return f"must be of the type of its default {default!r}"
    if "choices" in declared and value not in declared["choices"]:
        return f"is not one of {', '.join(map(str, declared['choices']))}"
    if "minimum" in declared and value < declared["minimum"]:
        return f"is below the minimum of {declared['minimum']}"
    if "maximum" in declared and value > declared["maximum"]:
        return f"is above the maximum of {declared['maximum']}"
    return ""
