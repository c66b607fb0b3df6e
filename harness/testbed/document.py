"""A topology as JSON data, for the hosts of a testbed, and back; what comes from another host is checked."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.errors import ProtocolError
from harness.testbed.conditions import Direction, LaterConditions, LinkConditions
from harness.testbed.placement import Placement
from harness.testbed.topology import Topology, UplinkSpec

_LINKS_MAX = 1_000


class LinkWay(BaseModel):
    """One direction of a node's link, and what it is like."""

    model_config = ConfigDict(extra="forbid", strict=True)

    node: str
    direction: Direction
    conditions: LinkConditions

    @classmethod
    def parse(cls, document: object) -> LinkWay:
        """ProtocolError for data that is none, ProfileError for conditions that cannot be."""
        try:
            return cls.model_validate_json(json.dumps(document))
        except ValidationError as error:
            raise _refused("link", error) from None


class _Document(BaseModel):
    """The fields of Topology; what JSON has no form for is a list."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run_id: str
    uplink: UplinkSpec
    latency_backend: str
    gso_max_size_bytes: int
    congestion_control: str
    mtu_bytes: int
    receive_order: str
    kernel_stacks: bool
    links: Annotated[list[LinkWay], Field(max_length=_LINKS_MAX)]
    later: Annotated[list[LaterConditions], Field(max_length=_LINKS_MAX)]
    flapping: list[str]
    placement: Placement


def _refused(what: str, error: ValidationError) -> ProtocolError:
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"]) or "the object"
    return ProtocolError(f"{what}: {where}: {fault['msg']}")


def topology_document(topology: Topology) -> dict[str, Any]:
    """JSON data that `parse_topology` makes an equal topology of."""
    document: dict[str, Any] = TypeAdapter(Topology).dump_python(topology, mode="json", exclude={"links"})
    document["links"] = [
        LinkWay(node=node, direction=way, conditions=each).model_dump(mode="json")
        for (node, way), each in topology.links.items()
    ]
    return document


def parse_topology(document: object) -> Topology:
    """ProtocolError for data that is no topology, ProfileError for one that cannot work."""
    try:
        parsed = _Document.model_validate_json(json.dumps(document))
    except ValidationError as error:
        raise _refused("topology", error) from None
    fields = {name: getattr(parsed, name) for name in _Document.model_fields}
    fields["links"] = {(way.node, way.direction): way.conditions for way in parsed.links}
    return Topology(**{**fields, "later": tuple(parsed.later), "flapping": frozenset(parsed.flapping)})
