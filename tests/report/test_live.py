from __future__ import annotations

import io

from rich.console import Console

from harness.report.live import LiveSample, LiveView, sample_fields, sample_line

FULL = LiveSample(
    phase="load",
    elapsed_ns=3_400_000_000,
    offered_bps=600e6,
    received_bps=598.5e6,
    intended_packets=1000,
    lost_packets=5,
    rtt_mean_ns=10_250_000,
    rtt_max_ns=12_000_000,
    pkt_q_packets=0,
)


def test_every_figure_has_its_unit() -> None:
    assert dict(sample_fields(FULL)) == {
        "phase": "load",
        "elapsed": "3.4 s",
        "offered": "600.0 Mbit/s",
        "received": "598.5 Mbit/s",
        "lost": "5 (0.50 %)",
        "RTT mean": "10.25 ms",
        "RTT max": "12.00 ms",
        "pkt_q": "0 packets",
    }


def test_unknown_is_not_zero() -> None:
    empty = LiveSample("boot", 0)
    assert {value for name, value in sample_fields(empty)[2:]} == {"-"}
    assert sample_line("statelet", empty) == "[statelet]    0.0 s  boot"


def test_plain_output_is_one_line_a_second_and_one_a_phase() -> None:
    now_ns = 0
    console = Console(file=io.StringIO(), width=40)
    with LiveView("statelet", console, clock_ns=lambda: now_ns) as view:
        for step in range(25):
            now_ns = step * 100_000_000
            view.update(LiveSample("load" if step < 15 else "migrate", now_ns, lost_packets=0))
    lines = console.file.getvalue().splitlines()
    # 0.0 s, 1.0 s, the change of phase at 1.5 s; the next would be due at 2.5 s.
    assert [line.split()[1] for line in lines] == ["0.0", "1.0", "1.5"]
    assert "migrate" in lines[2]


def test_long_lines_are_not_wrapped_or_marked_up() -> None:
    console = Console(file=io.StringIO(), width=20)
    with LiveView("[bold]x", console, clock_ns=lambda: 0) as view:
        view.update(FULL)
    (line,) = console.file.getvalue().splitlines()
    assert line.startswith("[[bold]x]")
    assert "pkt_q 0 packets" in line


def test_terminal_shows_a_panel() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with LiveView("statelet", console) as view:
        view.update(FULL)
    text = console.file.getvalue()
    assert "598.5 Mbit/s" in text
    assert "statelet" in text
