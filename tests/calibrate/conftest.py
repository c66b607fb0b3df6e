"""Figures of sound links, for tests that change one of them."""

from __future__ import annotations

import pytest

from harness.calibrate.figures import (
    CompetitionFigure,
    Figures,
    LatencyFigure,
    RateFigure,
    Spread,
    TransferFigure,
)

MS = 1_000_000


@pytest.fixture
def rate() -> RateFigure:
    return RateFigure(
        instance="source",
        direction="towards",
        asked_bps=1_000_000_000,
        offered_bps=1_300_000_000,
        frame_bytes=1400,
        intervals=14,
        measured_bps=1_003_000_000,
        minimum_bps=990_000_000,
        maximum_bps=1_010_000_000,
        resolution_bps=100_000,
        stalled=False,
        metered_packets=30_000,
        arrived_packets=30_000,
    )


@pytest.fixture
def latency() -> LatencyFigure:
    measured = Spread(139, 10_100_000, 10_300_000, 25_000_000, 80_000_000)
    return LatencyFigure("source", "round trip", 4, 10 * MS, 139, measured)


@pytest.fixture
def transfer() -> TransferFigure:
    return TransferFigure("source", "goodput", 1_000_000_000, 950_000_000, 60_000_000, 800 * MS, 940_000_000)


@pytest.fixture
def competing() -> CompetitionFigure:
    return CompetitionFigure(
        instance="source",
        congestion_control="cubic",
        asked_bps=1_000_000_000,
        paced_bps=475_000_000,
        udp_offered_bps=500_000_000,
        udp_achieved_bps=499_000_000,
        udp_packets=8_700,
        udp_lost_packets=17,
        rtt=Spread(8_683, 10_000_000, 10_300_000, 10_600_000, 11_000_000),
        tcp_goodput_bps=455_000_000,
        total_bps=975_000_000,
        duration_ns=400 * MS,
        idle_fraction=0.3,
    )


@pytest.fixture
def figures(
    rate: RateFigure, latency: LatencyFigure, transfer: TransferFigure, competing: CompetitionFigure
) -> Figures:
    return Figures("delay_line", 200_000, (rate,), (latency,), transfer, (competing,))
