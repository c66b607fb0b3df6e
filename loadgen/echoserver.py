"""The echoserver's loop: returns every request after the link's latency, sends packets of its own to known flows."""

from __future__ import annotations

from typing import Any

from numba import typeof, types

from harness.dataplane.jit import compiled, compiled_as
from harness.dataplane.libc import clock_ns, wait_readable
from harness.dataplane.port import send_burst
from harness.dataplane.tick import ahead_ns, present_tick_ns, sleep_towards_ns
from loadgen import status as page
from loadgen.arp import answer_request
from loadgen.capture_echo import ANY_PACKET, serve_captured
from loadgen.control import START_NS, STOP
from loadgen.delay_line import HEAD, fill, held_frames, next_due_ns, release
from loadgen.echoserver_record import is_echo_address, record_request
from loadgen.echoserver_state import (
    ARP_PACKETS,
    BAD_CHECKSUM,
    BURST_PACKETS,
    ECHOED,
    FOREIGN,
    ITERATIONS,
    MALFORMED,
    MAPPING_CHANGES,
    MISDIRECTED,
    RECEIVED_FRAMES,
    REFUSED_COUNTERS,
    SERVER_REFUSED,
    SERVER_RETRIES,
    SERVER_SENT,
    SLEEPS,
    TX_FAILED,
    WAKE_LEAD_NS,
    example_arguments,
)
from loadgen.payload import (
    ARP,
    FLOW,
    KIND,
    KIND_REQUEST,
    KIND_SERVER,
    OURS,
    classify,
    complete,
    header_sums,
    turn_into_reply,
    write_headers,
)
from loadgen.payload import BAD_CHECKSUM as BAD_CHECKSUM_FRAME
from loadgen.payload import FOREIGN as FOREIGN_FRAME
from loadgen.transmit import send_prefix
from loadgen.wire import (
    ETHERNET_BYTES,
    IP_DESTINATION,
    IP_TOTAL_LENGTH,
    UDP_DESTINATION,
    get16,
    get32,
    signed,
)

IDLE_SLEEP_NS = 1_000_000


@compiled
def serve_frame(
    frame: Any, frame_words: Any, length: int, run: int, echo_port: int, identity: Any, record: Any, words: Any
) -> int:
    """Turn a frame into its answer in place; returns the bytes to send, or minus the counter it ends in.

    An echo reply is to be counted by whether it could be sent; an answer to ARP is counted here. `echo_port`
    ANY_PACKET: the load is that of a capture (loadgen.capture_echo).
    """
    if echo_port == ANY_PACKET:
        return serve_captured(frame, frame_words, length, run, identity, record, words)
    kind = classify(frame, frame_words, length, run)
    if kind == OURS:
        flow = get32(frame, FLOW)
        if (
            frame[KIND] != KIND_REQUEST
            or flow >= record.packets.shape[0]
            or get16(frame, UDP_DESTINATION) != echo_port
            or not is_echo_address(get32(frame, IP_DESTINATION), identity.echo)
        ):
            return -MISDIRECTED
        record_request(frame, flow, record, words)
        turn_into_reply(frame)
        return get16(frame, IP_TOTAL_LENGTH) + ETHERNET_BYTES
    if kind == ARP:
        return -ARP_PACKETS
    if kind == FOREIGN_FRAME:
        return -FOREIGN
    if kind == BAD_CHECKSUM_FRAME:
        return -BAD_CHECKSUM
    return -MALFORMED


@compiled
def serve_matured(
    fd: int, run: int, echo_port: int, until_ns: int, identity: Any, record: Any, wire: Any, words: Any
) -> int:
    """Answer up to one burst of the frames that mature until `until_ns`; returns how many were taken."""
    line, counters = wire.line, words.counters
    mask = line.held.shape[0] - 1
    taken, to_send, echoes = 0, 0, 0
    while taken < BURST_PACKETS and next_due_ns(line) <= until_ns:
        place = line.cursor[HEAD] & mask
        slot, length = signed(line.held[place]), line.length[place]
        line.cursor[HEAD] += 1
        words.burst[taken] = slot
        taken += 1
        out_bytes = serve_frame(line.frames[slot], line.words[slot], length, run, echo_port, identity, record, words)
        if out_bytes > 0:
            echoes += 1
        else:
            counters[-out_bytes] += 1
            if out_bytes == -ARP_PACKETS:
                out_bytes = answer_request(line.frames[slot], length, identity.mac, identity.answered)
        if out_bytes > 0:
            wire.tx.slots[to_send] = slot
            wire.tx.lengths[to_send] = out_bytes
            to_send += 1
    if to_send > 0:
        failed = to_send - send_burst(fd, to_send, line.frames, wire.tx)
        # An ARP answer among them is asked for again, so that every failure may be booked as an echo's.
        failed = min(failed, echoes)
        counters[ECHOED] += echoes - failed
        counters[TX_FAILED] += failed
    for i in range(taken):
        release(signed(words.burst[i]), line)
    return taken


@compiled
def send_server_due(
    fd: int, run: int, now_ns: int, identity: Any, record: Any, server: Any, wire: Any, words: Any
) -> int:
    """Send up to one burst of the server packets due at `now_ns`, to flows seen so far; returns how many left.

    While no flow has been seen they wait; their time keeps counting from when they were due.
    """
    cursor, packets = words.cursor, server.intended_ns.shape[0]
    first, seen, choice = cursor[0], cursor[1], cursor[2]
    count = 0
    if seen == 0:
        return count
    while count < BURST_PACKETS and first + count < packets and server.intended_ns[first + count] <= now_ns:
        seq = first + count
        # A linear congruential generator modulo 2^31: any flow alike, reproducible for one order of appearance.
        choice = (choice * 1103515245 + 12345) & 0x7FFFFFFF
        flow = signed(record.seen[(choice >> 8) % seen])
        server.flow[seq] = flow
        frame = wire.server_frames[count]
        peer = record.peer[flow]
        labels = (KIND_SERVER, run, flow)
        write_headers(frame, identity.mac, identity.gateway_mac, (peer[2], peer[0]), (peer[3], peer[1]), labels)
        frame_bytes = signed(server.frame_bytes[seq])
        complete(frame, frame_bytes, (0, seq, server.intended_ns[seq]), header_sums(frame), wire.filler_sums)
        wire.server.lengths[count] = frame_bytes
        count += 1
    if count == 0:
        return count
    sent_ns = clock_ns(1, words.scratch)
    sent = send_prefix(fd, count, wire.server_frames, wire.server)
    if sent < 0:
        words.counters[SERVER_REFUSED] += 1
        cursor[0] += 1
        return 0
    if sent < count:
        words.counters[SERVER_RETRIES] += 1
    for i in range(sent):
        server.sent_ns[first + i] = sent_ns
    cursor[0] += sent
    cursor[2] = choice
    words.counters[SERVER_SENT] += sent
    return sent


@compiled
def publish(now_ns: int, line: Any, words: Any) -> None:
    """Bring the status page up to date."""
    status, counters = words.status, words.counters
    status[page.NOW_NS] = now_ns
    status[page.SENT] = counters[ECHOED]
    status[page.RECEIVED] = counters[RECEIVED_FRAMES]
    status[page.SERVER_PACKETS] = counters[SERVER_SENT]
    status[page.MAPPING_CHANGES] = counters[MAPPING_CHANGES]
    status[page.PENDING] = held_frames(line)
    refused = 0
    for counter in REFUSED_COUNTERS:
        refused += counters[counter]
    status[page.REFUSED_FRAMES] = refused


_INTEGERS = (types.int64,) * 5
_SIGNATURE = types.void(*_INTEGERS, *(typeof(value) for value in example_arguments()))


@compiled_as(_SIGNATURE)
def run_echoserver(
    fd: int,
    run: int,
    echo_port: int,
    latency_ns: int,
    tick_ns: int,
    identity: Any,
    record: Any,
    server: Any,
    wire: Any,
    words: Any,
) -> None:
    """Serve until control[STOP]; server-originated packets go out once control[START_NS] is set.

    `server.intended_ns` must hold times, not offsets, by then. Frames are answered `latency_ns` after they arrived,
    as exactly as harness.dataplane.tick says. Never raises.
    """
    control, line = words.control, wire.line
    packets = server.intended_ns.shape[0]
    # Whether a whole tick brought nothing. Without a delay line the next frame then wakes the loop at once, while
    # frames that come faster than the ticks are still taken in bursts.
    quiet = False
    while control[STOP] == 0:
        words.counters[ITERATIONS] += 1
        received = fill(fd, latency_ns, BURST_PACKETS, line, wire.rx, words.scratch)
        words.counters[RECEIVED_FRAMES] += received
        now_ns = clock_ns(1, words.scratch)
        present_ns = present_tick_ns(held_frames(line), latency_ns, tick_ns)
        until_ns = now_ns + ahead_ns(present_ns, words.cursor[WAKE_LEAD_NS], latency_ns)
        served = serve_matured(fd, run, echo_port, until_ns, identity, record, wire, words)
        sent = 0
        started = control[START_NS] > 0
        if started:
            sent = send_server_due(fd, run, now_ns, identity, record, server, wire, words)
        publish(now_ns, line, words)
        words.status[page.PHASE] = 1 if started else 0
        if received + served + sent == 0:
            words.counters[SLEEPS] += 1
            if latency_ns == 0 and quiet:
                pause_ns = IDLE_SLEEP_NS
                if started and words.cursor[0] < packets:
                    pause_ns = min(pause_ns, max(0, server.intended_ns[words.cursor[0]] - now_ns))
                wait_readable(fd, pause_ns, words.scratch)
                continue
            quiet = True
            # Nothing tells of an arrival: without a long delay line only waking at every tick keeps the RTT short.
            idle_ns = tick_ns if latency_ns <= IDLE_SLEEP_NS else max(IDLE_SLEEP_NS, tick_ns)
            wake_ns = min(now_ns + idle_ns, max(now_ns + present_ns, next_due_ns(line)))
            if started and words.cursor[0] < packets:
                wake_ns = min(wake_ns, max(now_ns + tick_ns, server.intended_ns[words.cursor[0]]))
            sleep_towards_ns(wake_ns, words.cursor, WAKE_LEAD_NS, tick_ns, words.scratch)
        else:
            quiet = False
    words.status[page.PHASE] = 3
