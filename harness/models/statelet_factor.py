"""Statelet factor of a network function for a workload (Table II).

Nobach et al., "Statelet-Based Efficient and Seamless NFV State Transfer", Section V: sigma is the mean volume of the
statelets of a packet over the mean volume of a packet. Table II counts statelet payloads and packets of 512 bytes; on
the stream every statelet also has its header of type and length.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from harness.errors import UsageError
from harness.models.domain import Grid, Values, array, check, masked, not_negative, positive

STATELET_HEADER_BYTES = 4
"""Type and length, two bytes each (Section VI-A)."""
DESCRIPTION_FILE = "image.toml"


@dataclass(frozen=True)
class Share:
    """A type of statelet in a workload: its payload, and how many of them a packet causes on average."""

    name: str
    payload_bytes: float
    per_packet: float


@dataclass(frozen=True)
class Example:
    """A row of Table II: the workload, and sigma as printed there."""

    name: str
    workload: str
    shares: tuple[Share, ...]
    printed: float


TABLE_II_PACKET_BYTES = 512
TABLE_II = (
    Example(
        "NAT",
        "every 15th packet opens a socket",
        (Share("counters", 12, 1.0), Share("new socket", 18, 1 / 15)),
        0.025,
    ),
    Example(
        "intrusion detection",
        "5 % of packets are suspicious",
        (Share("session", 20, 0.95), Share("whole packet", 512, 0.05)),
        0.057,
    ),
    Example(
        "VPN session",
        "session data only",
        (Share("session identifier", 4, 1.0), Share("last block", 32, 1.0), Share("counters", 12, 1.0)),
        0.093,
    ),
)

IMAGE_WORKLOADS: Mapping[str, Mapping[str, float]] = {
    # Table II's NAT workload, half of it in either direction. A packet that opens a mapping causes one statelet, which
    # carries the counters too.
    "nat": {"udp_mapping": 1 / 15, "udp_out": 1 / 2 - 1 / 15, "udp_in": 1 / 2},
}
"""Statelets per packet that are assumed where a workload is not given, by image."""


def statelet_factor(shares: Iterable[Share], packet_bytes: Values, header_bytes: Values = 0) -> Grid:
    """sigma (Section V): sum of per_packet (payload + header) over the mean packet size.

    packet_bytes: mean size of the packets that pass the function, in bytes; header_bytes: of each statelet.
    """
    packet, header = array(packet_bytes), array(header_bytes)
    parts = list(shares)
    payload, per_packet = (array([getattr(s, field) for s in parts]) for field in ("payload_bytes", "per_packet"))
    check([not_negative(payload, "statelet payload in bytes"), not_negative(per_packet, "statelets per packet")])
    for share in parts:
        if share.payload_bytes < 0 or not 0 <= share.per_packet < float("inf"):
            raise UsageError(f"statelet {share.name}: size and number per packet must be 0 or more")
    valid = check([positive(packet, "mean packet size in bytes"), not_negative(header, "statelet header in bytes")])
    with np.errstate(all="ignore"):
        volume = (payload * per_packet).sum() + header * per_packet.sum()
        return masked(volume / packet, valid)


def image_statelets(image: str) -> dict[str, int]:
    """Payload in bytes of each statelet type of an image: a packaged image's name, an image's folder or image.toml."""
    path = _description(image)
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("statelets", [])
        return {str(entry["name"]): int(entry["payload_bytes"]) for entry in entries}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{path}: no list of statelets with name and payload_bytes ({error!r:.80})") from error


def image_shares(image: str, workload: Sequence[tuple[str, float]]) -> list[Share]:
    """The statelets of `workload`, (type, number per packet); empty: the workload assumed for the image."""
    sizes = image_statelets(image)
    chosen = list(workload) or list(IMAGE_WORKLOADS.get(_name(image), {}).items())
    if not chosen:
        raise UsageError(f"image {image!r}: give its workload, statelets per packet; it has {_listed(sizes)}")
    for name, _ in chosen:
        if name not in sizes:
            raise UsageError(f"image {image!r} has no statelet {name!r}; it has {_listed(sizes)}")
    return [Share(name, sizes[name], per_packet) for name, per_packet in chosen]


def _listed(sizes: Mapping[str, int]) -> str:
    return ", ".join(sizes) or "none"


def _name(image: str) -> str:
    path = Path(image)
    return path.parent.name if path.name == DESCRIPTION_FILE else path.name


def _description(image: str) -> Path:
    path = Path(image)
    if path.name == DESCRIPTION_FILE or path.suffix == ".toml":
        return path
    if (path / DESCRIPTION_FILE).is_file():
        return path / DESCRIPTION_FILE
    # Images are programs of their own: their description is read, they are never imported.
    spec = find_spec("vnf_images")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        packaged = Path(folder, image, DESCRIPTION_FILE)
        if packaged.is_file():
            return packaged
    raise UsageError(f"no image {image!r}: give the name of a packaged image, its folder or its {DESCRIPTION_FILE}")
