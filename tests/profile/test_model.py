from __future__ import annotations

import re
from dataclasses import fields

from harness.migration.modes import MODES as RESYNCHRONISATION_MODES
from harness.migration.outcome import MigrationDeadlines
from harness.profile import MODES, Profile
from harness.profile.model import Deadlines, Table

UNIT = re.compile(r"_(ns|bps|bytes|packets|per_s|addresses)$")


def tables(table: type[Table]):
    yield table
    for field in table.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Table):
            yield from tables(field.annotation)


def test_modes_are_the_control_and_the_registered_ones():
    assert ("none", *RESYNCHRONISATION_MODES) == MODES


def test_the_profile_bounds_every_wait_of_a_migration():
    assert {field.alias.replace("resynchronise", "resync") for field in Deadlines.model_fields.values()} == {
        field.name.removesuffix("_ns") for field in fields(MigrationDeadlines)
    }


def test_quantities_carry_their_unit_in_python_and_not_in_the_file():
    for table in tables(Profile):
        for name, field in table.model_fields.items():
            if field.alias is not None:
                assert UNIT.search(name), f"{table.__name__}.{name}"
                assert not UNIT.search(field.alias), f"{table.__name__}.{field.alias}"


def test_every_key_is_documented():
    for table in tables(Profile):
        for name, field in table.model_fields.items():
            is_table = isinstance(field.annotation, type) and issubclass(field.annotation, Table)
            assert is_table or field.description, f"{table.__name__}.{name}"
