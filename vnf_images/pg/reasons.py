"""Why the gateway refuses a packet, beside what any image that routes refuses. The names appear in results."""

from __future__ import annotations

from vnf_images.reasons import ROUTING_REASONS

NOT_UDP = 8
ADDRESSED_TO_GATEWAY = 12
UNTAGGED = 21
TAG_MALFORMED = 22
UNKNOWN_CELL = 23
UNKNOWN_SUBSCRIBER = 24
SUBSCRIBER_TABLE_FULL = 25

REASONS: dict[int, str] = {
    **ROUTING_REASONS,
    NOT_UDP: "not_udp",
    ADDRESSED_TO_GATEWAY: "addressed_to_gateway",
    UNTAGGED: "untagged",
    TAG_MALFORMED: "tag_malformed",
    UNKNOWN_CELL: "unknown_cell",
    UNKNOWN_SUBSCRIBER: "unknown_subscriber",
    SUBSCRIBER_TABLE_FULL: "subscriber_table_full",
}
