"""Why an image that routes refuses a packet, as far as the images have it in common.

The numbers are drop reasons of the engine; the names appear in results. An image's own reasons take other numbers.
"""

from __future__ import annotations

FRAME_MALFORMED = 1
NOT_FOR_US = 2
NOT_IPV4 = 3
IP_MALFORMED = 4
IP_OPTIONS = 5
IP_CHECKSUM = 6
FRAGMENT = 7
TRANSPORT_MALFORMED = 9
TTL_EXPIRED = 10
BAD_SOURCE = 11
NO_ROUTE = 14
ARP_MALFORMED = 16
ARP_OTHER = 17
ARP_CONSUMED = 18
ARP_UNRESOLVED = 19
NEIGHBOUR_TABLE_FULL = 20
INCONSISTENT = 29

ROUTING_REASONS: dict[int, str] = {
    FRAME_MALFORMED: "frame_malformed",
    NOT_FOR_US: "not_for_us",
    NOT_IPV4: "not_ipv4",
    IP_MALFORMED: "ip_malformed",
    IP_OPTIONS: "ip_options",
    IP_CHECKSUM: "ip_checksum",
    FRAGMENT: "fragment",
    TRANSPORT_MALFORMED: "transport_malformed",
    TTL_EXPIRED: "ttl_expired",
    BAD_SOURCE: "bad_source",
    NO_ROUTE: "no_route",
    ARP_MALFORMED: "arp_malformed",
    ARP_OTHER: "arp_other",
    ARP_CONSUMED: "arp_consumed",
    ARP_UNRESOLVED: "arp_unresolved",
    NEIGHBOUR_TABLE_FULL: "neighbour_table_full",
    INCONSISTENT: "inconsistent",
}
