"""Why the NAT refuses a packet. The numbers are drop reasons of the engine; the names appear in results."""

from __future__ import annotations

FRAME_MALFORMED = 1
NOT_FOR_US = 2
NOT_IPV4 = 3
IP_MALFORMED = 4
IP_OPTIONS = 5
IP_CHECKSUM = 6
FRAGMENT = 7
PROTOCOL = 8
TRANSPORT_MALFORMED = 9
TTL_EXPIRED = 10
BAD_SOURCE = 11
ADDRESSED_TO_NAT = 12
HAIRPIN = 13
NO_ROUTE = 14
ICMP_NOT_ECHO = 15
ARP_MALFORMED = 16
ARP_OTHER = 17
ARP_CONSUMED = 18
ARP_UNRESOLVED = 19
NEIGHBOUR_TABLE_FULL = 20
UNSOLICITED = 21
MAPPING_EXPIRED = 22
TCP_NO_SESSION = 23
SESSION_EXPIRED = 24
POOL_EXHAUSTED = 25
MAPPING_TABLE_FULL = 26
SESSION_TABLE_FULL = 27
HOST_TABLE_FULL = 28
INCONSISTENT = 29

REASONS: dict[int, str] = {
    FRAME_MALFORMED: "frame_malformed",
    NOT_FOR_US: "not_for_us",
    NOT_IPV4: "not_ipv4",
    IP_MALFORMED: "ip_malformed",
    IP_OPTIONS: "ip_options",
    IP_CHECKSUM: "ip_checksum",
    FRAGMENT: "fragment",
    PROTOCOL: "protocol",
    TRANSPORT_MALFORMED: "transport_malformed",
    TTL_EXPIRED: "ttl_expired",
    BAD_SOURCE: "bad_source",
    ADDRESSED_TO_NAT: "addressed_to_nat",
    HAIRPIN: "hairpin",
    NO_ROUTE: "no_route",
    ICMP_NOT_ECHO: "icmp_not_echo",
    ARP_MALFORMED: "arp_malformed",
    ARP_OTHER: "arp_other",
    ARP_CONSUMED: "arp_consumed",
    ARP_UNRESOLVED: "arp_unresolved",
    NEIGHBOUR_TABLE_FULL: "neighbour_table_full",
    UNSOLICITED: "unsolicited",
    MAPPING_EXPIRED: "mapping_expired",
    TCP_NO_SESSION: "tcp_no_session",
    SESSION_EXPIRED: "session_expired",
    POOL_EXHAUSTED: "pool_exhausted",
    MAPPING_TABLE_FULL: "mapping_table_full",
    SESSION_TABLE_FULL: "session_table_full",
    HOST_TABLE_FULL: "host_table_full",
    INCONSISTENT: "inconsistent",
}
