"""TOML text and `--set` overrides to a Profile, with every mistake as one line: source, path of the key, what to do."""

from __future__ import annotations

import json
import re
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from harness.errors import ProfileError, UsageError
from harness.profile.capture import with_capture
from harness.profile.checks import Problem, problems, suggestion, unknown_names
from harness.profile.images import describe, known_images
from harness.profile.model import Profile
from harness.profile.parameters import parameter_problems
from harness.profile.table import Table
from harness.profile.workload_checks import own_problems, workload_problems

MAX_FILE_BYTES = 2**20
_SHOWN_CHARACTERS = 60
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
EXPECTED = {
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text in quotes",
    "tuple_type": "must be a list",
    "too_short": "must have at least one element",
    "model_type": "must be a table",
    "dict_type": "must be a table",
}
"""What a value must be, by the type of pydantic's error."""


def load_profile(path: Path, overrides: Sequence[str] = ()) -> Profile:
    """Read, override and check a profile file. Raises ProfileError with one line per mistake."""
    document = read_document(path)
    overridden = apply_overrides(document, overrides)
    identity = document.setdefault("profile", {})
    if isinstance(identity, dict):
        identity.setdefault("name", path.stem)
    return parse_profile(document, source=str(path), overridden=overridden)


def parse_profile(
    document: Mapping[str, Any],
    source: str = "profile",
    overridden: Iterable[str] = (),
    images: Mapping[str, Path] | None = None,
) -> Profile:
    """Check TOML data. `overridden` are dotted paths that came from --set; `images` defaults to `known_images()`.

    Raises ProfileError with one line per mistake.
    """
    from_command_line = frozenset(overridden)
    known = known_images() if images is None else images
    names = tuple(sorted(known))
    try:
        profile = Profile.model_validate(document)
    except ValidationError as error:
        found = [_explain(detail) for detail in error.errors(include_url=False)]
        # Names need no valid rest: with them every independent mistake is told at once.
        image, modes = _raw(document, "vnf", "image"), _raw(document, "migration", "modes")
        found += unknown_names(image, modes, names)
    else:
        profile, found = _with_workload(profile)
        found += problems(profile, names)
        folder = known.get(profile.vnf.image)
        if folder is not None:
            description = describe(folder)
            wrong_parameters = list(parameter_problems(profile.vnf.parameters, description))
            # A parameter of a wrong type cannot be compared with the load.
            found += wrong_parameters or workload_problems(profile, description)
        if not found:
            return profile
    raise ProfileError("\n".join(_line(problem, source, from_command_line) for problem in found))


def _with_workload(profile: Profile) -> tuple[Profile, list[Problem]]:
    """The profile with what its workload makes of the other keys of [load], and what is wrong with the workload."""
    found = list(own_problems(profile))
    if found:
        return profile, found
    if profile.load.workload == "capture":
        try:
            return with_capture(profile), []
        except UsageError as error:
            return profile, [Problem("load.capture.path", str(error))]
    if profile.load.workload == "command":
        nothing_beside = {"new_flows_per_s": 0, "server_packets_per_s": 0}
        return profile.model_copy(update={"load": profile.load.model_copy(update=nothing_beside)}), []
    return profile, []


def apply_overrides(document: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Apply each "table.key=value" in order; returns the paths set. Raises ProfileError.

    The value is TOML; what is not TOML is taken as a string, so that 600M needs no quotes.
    """
    paths = []
    for override in overrides:
        path, equals, text = override.partition("=")
        keys = path.strip().split(".")
        if not equals or len(keys) < 2 or not all(keys):
            raise ProfileError(f"--set {_shown(override)}: must be table.key=value, such as load.rate=300M")
        table: Any = document
        for depth, key in enumerate(keys[:-1]):
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                raise ProfileError(f"--set {_shown(override)}: {'.'.join(keys[: depth + 1])} is a value, not a table")
        table[keys[-1]] = _value(text.strip())
        paths.append(".".join(keys))
    return paths


def _raw(document: Mapping[str, Any], table: str, key: str) -> object:
    content = document.get(table)
    return content.get(key) if isinstance(content, dict) else None


def _value(text: str) -> object:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    # More than one key: the text went on after its value, on a second line.
    return parsed["value"] if len(parsed) == 1 else text


def read_document(path: Path) -> dict[str, Any]:
    """TOML data of a file of at most MAX_FILE_BYTES. Raises ProfileError naming the file, with the nearest name."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ProfileError(f"{path}: not a file")
        if status.st_size > MAX_FILE_BYTES:
            raise ProfileError(f"{path}: {status.st_size} bytes are too many for a profile (at most {MAX_FILE_BYTES})")
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        near = suggestion(path.name, tuple(sorted(p.name for p in _beside(path))))
        raise ProfileError(f"{path}: {error.strerror or error}{near}") from None
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{path}: not valid TOML: {error}") from None
    except RecursionError:
        raise ProfileError(f"{path}: not valid TOML: nested too deeply") from None


def _beside(path: Path) -> Iterator[Path]:
    try:
        yield from path.parent.glob("*.toml")
    except OSError:
        return


def _line(problem: Problem, source: str, from_command_line: frozenset[str]) -> str:
    bare = problem.path.partition("[")[0]
    set_there = any(bare == path or bare.startswith(f"{path}.") for path in from_command_line)
    return f"{'--set' if set_there else source}: {problem.path}: {problem.message}"


def _explain(detail: ErrorDetails) -> Problem:
    location = detail["loc"]
    if detail["type"] == "extra_forbidden":
        return Problem(_dotted(location), f"unknown key{_key_suggestion(location)}")
    # Locations inside a union end in names of types; the key's own path is what stands in the file.
    keys = tuple(key for index, key in enumerate(location) if isinstance(key, int) or _is_key(location[:index], key))
    given = detail["input"]
    if detail["type"] == "literal_error":
        choices = tuple(_choices(_field_type(keys)))
        return Problem(_dotted(keys), f"unknown value {_shown(given)}{suggestion(str(given), choices)}")
    if detail["type"] == "missing":
        return Problem(_dotted(keys), "is missing")
    if detail["type"] == "value_error":
        return Problem(_dotted(keys), str(detail["ctx"]["error"]))
    expected = EXPECTED.get(detail["type"]) or detail["msg"].replace("Input should", "must")
    return Problem(_dotted(keys), f"{expected}, not {_shown(given)}")


def _key_suggestion(location: tuple[int | str, ...]) -> str:
    name = str(location[-1])
    parent = _table(location[:-1])
    keys = _keys(parent)
    near = suggestion(name, keys)
    if "did you mean" in near:
        return f"; did you mean {_dotted((*location[:-1], near.removeprefix('; did you mean ').removesuffix('?')))}?"
    elsewhere = [path for path in _paths(Profile) if path.rpartition(".")[2] == name]
    return f"; did you mean {elsewhere[0]}?" if elsewhere else near


def _paths(table: type[Table], prefix: str = "") -> Iterator[str]:
    for name, field in table.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        yield path
        if isinstance(field.annotation, type) and issubclass(field.annotation, Table):
            yield from _paths(field.annotation, f"{path}.")


def _keys(table: type[Table]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in table.model_fields.items())


def _table(location: tuple[int | str, ...]) -> type[Table]:
    table: type[Table] = Profile
    for key in location:
        if isinstance(key, int):
            continue  # an element of an array of tables, which its name has led to
        annotation = _annotation(table, key)
        element = get_args(annotation)[0] if get_origin(annotation) is tuple else annotation
        # A table, or a table that may be left out.
        found = next((each for each in (element, *get_args(element)) if _is_table(each)), None)
        if found is None:
            break
        table = found
    return table


def _is_table(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Table)


def _annotation(table: type[Table], key: int | str) -> Any:
    return next((f.annotation for name, f in table.model_fields.items() if key == (f.alias or name)), None)


def _choices(annotation: Any) -> Iterator[str]:
    """Values of a Literal, also of one beside None."""
    for choice in get_args(annotation):
        if isinstance(choice, str):
            yield choice
        else:
            yield from _choices(choice)


def _field_type(location: tuple[int | str, ...]) -> Any:
    return _annotation(_table(location[:-1]), location[-1])


def _is_key(location: tuple[int | str, ...], key: str) -> bool:
    return key in _keys(_table(location)) or (len(location) == 2 and location[-1] == "parameters")


def _dotted(location: tuple[int | str, ...]) -> str:
    path = ""
    for key in location:
        name = key if isinstance(key, int) or _BARE_KEY.fullmatch(key) else json.dumps(key)
        path += f"[{name}]" if isinstance(key, int) else f".{name}" if path else str(name)
    return path


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."
