"""Why the NAT refuses a packet, beside what any image that routes refuses. The names appear in results."""

from __future__ import annotations

from vnf_images.reasons import ROUTING_REASONS

PROTOCOL = 8
ADDRESSED_TO_NAT = 12
HAIRPIN = 13
ICMP_NOT_ECHO = 15
UNSOLICITED = 21
MAPPING_EXPIRED = 22
TCP_NO_SESSION = 23
SESSION_EXPIRED = 24
POOL_EXHAUSTED = 25
MAPPING_TABLE_FULL = 26
SESSION_TABLE_FULL = 27
HOST_TABLE_FULL = 28

REASONS: dict[int, str] = {
    **ROUTING_REASONS,
    PROTOCOL: "protocol",
    ADDRESSED_TO_NAT: "addressed_to_nat",
    HAIRPIN: "hairpin",
    ICMP_NOT_ECHO: "icmp_not_echo",
    UNSOLICITED: "unsolicited",
    MAPPING_EXPIRED: "mapping_expired",
    TCP_NO_SESSION: "tcp_no_session",
    SESSION_EXPIRED: "session_expired",
    POOL_EXHAUSTED: "pool_exhausted",
    MAPPING_TABLE_FULL: "mapping_table_full",
    SESSION_TABLE_FULL: "session_table_full",
    HOST_TABLE_FULL: "host_table_full",
}
