"""Parameters of an image: what its image.toml declares, with what was given in the place of the defaults."""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import UsageError


@cache
def declared_parameters(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """The `[parameters.<name>]` sections of an image.toml."""
    sections: Mapping[str, Mapping[str, Any]] = tomllib.loads((folder / "image.toml").read_text(encoding="utf-8")).get(
        "parameters", {}
    )
    return sections


def complete_parameters(folder: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every declared parameter, given or default.

    Raises:
        UsageError: an unknown name, a value of another type than the default's, or one out of its range.
    """
    declared = declared_parameters(folder)
    for name, value in given.items():
        if name not in declared:
            raise UsageError(f"{folder.name}: unknown parameter {name!r}; known are {', '.join(declared)}")
        section = declared[name]
        if type(value) is not type(section["default"]):
            raise UsageError(f"{folder.name}: {name} = {value!r} must be like its default {section['default']!r}")
        if "minimum" in section and not section["minimum"] <= value <= section["maximum"]:
            raise UsageError(
                f"{folder.name}: {name} = {value!r} must be from {section['minimum']} to {section['maximum']}"
            )
    return {name: given.get(name, section["default"]) for name, section in declared.items()}


def ipv4_interface(image: str, name: str, text: str) -> tuple[int, int]:
    """Address and prefix mask of "10.1.0.1/16", 32 bits each. Raises UsageError."""
    try:
        interface = ipaddress.IPv4Interface(text)
    except ValueError as error:
        raise UsageError(f"{image}: {name} = {text!r}: {error}; write it like 10.1.0.1/16") from None
    if interface.network.prefixlen > 30 or interface.ip in (
        interface.network.network_address,
        interface.network.broadcast_address,
    ):
        raise UsageError(f"{image}: {name} = {text!r} is not a host's address in a network of at least 4 addresses")
    return int(interface.ip), int(interface.netmask)


def ipv4_address(image: str, name: str, text: str) -> int:
    """Address of "198.18.0.254"; 0 for the empty text. Raises UsageError."""
    if not text:
        return 0
    try:
        return int(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise UsageError(f"{image}: {name} = {text!r}: {error}; write it like 198.18.0.254") from None


def mac_address(image: str, name: str, text: str) -> int:
    """Station address of "02:00:00:00:01:00", 48 bits. Raises UsageError."""
    parts = text.split(":")
    try:
        octets = bytes(int(part, 16) for part in parts if len(part) == 2)
    except ValueError:
        octets = b""
    if len(parts) != 6 or len(octets) != 6 or octets[0] & 1 or not any(octets):
        raise UsageError(f"{image}: {name} = {text!r} is not a station's Ethernet address like 02:00:00:00:01:00")
    return int.from_bytes(octets, "big")
