"""TOML -> Profile: the one description of an experiment, strict about keys, units and names."""

from harness.profile.load import load_profile, parse_profile
from harness.profile.model import CONTROL, MODES, Profile

__all__ = ["CONTROL", "MODES", "Profile", "load_profile", "parse_profile"]
