"""Bodies of the control protocol: JSON objects told apart by "type"; unknown keys and types are refused.

The controller sends requests, an instance answers each with one response of the same id and sends notifications
unasked. Times are CLOCK_MONOTONIC ns unless named wall.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from harness.errors import ProtocolError

Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
Epoch = Annotated[int, Field(ge=1, le=2**32 - 1)]
TcpPort = Annotated[int, Field(ge=1, le=65535)]
Duration = Annotated[int, Field(ge=1, le=3600 * 10**9)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Text = Annotated[str, Field(max_length=2000)]
Ipv4 = Annotated[str, Field(pattern=r"^(\d{1,3}\.){3}\d{1,3}$")]

_Parsed = TypeVar("_Parsed")


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Request(Message):
    id: Count = 0


class StatusRequest(Request):
    """Who are you, which phase are you in, what did you count?"""

    type: Literal["status"] = "status"


class ActivateRequest(Request):
    """Process packets from now on, with empty state: boots the first source."""

    type: Literal["activate"] = "activate"


class PrepareInRequest(Request):
    """Open both stream listeners and wait for the source. `deadline_ns` bounds the whole session."""

    type: Literal["prepare_in"] = "prepare_in"
    epoch: Epoch
    mode: Name
    deadline_ns: Duration


class MigrateOutRequest(Request):
    """Connect to a prepared destination and send it the state; answered before the work begins."""

    type: Literal["migrate_out"] = "migrate_out"
    epoch: Epoch
    mode: Name
    address: Ipv4
    statelet_port: TcpPort
    snapshot_port: TcpPort
    filler_bytes: Count
    filler_seed: Count
    snapshot_rate_bps: Count
    connect_deadline_ns: Duration
    deadline_ns: Duration


class CommitRequest(Request):
    """The switchover comes next: no abort because of a full queue any more, and drain packets stop the dataplane."""

    type: Literal["commit"] = "commit"
    epoch: Epoch


class AbortRequest(Request):
    """Give up this migration; the source goes on as if nothing had happened, the destination forgets its state."""

    type: Literal["abort"] = "abort"
    epoch: Epoch
    reason: Text


class DumpStateRequest(Request):
    """Write the live tables to a file of the instance's host."""

    type: Literal["dump_state"] = "dump_state"
    path: Annotated[str, Field(min_length=1, max_length=4096)]


class StopRequest(Request):
    """End the process after the answer."""

    type: Literal["stop"] = "stop"


class Response(Message):
    id: Count


class Accepted(Response):
    type: Literal["accepted"] = "accepted"


class Refused(Response):
    """Nothing was changed."""

    type: Literal["refused"] = "refused"
    reason: Text


class Status(Response):
    type: Literal["status"] = "status"
    role: Name
    phase: Name
    epoch: Count
    image: str
    version: str
    counters: dict[str, JsonValue]
    refused_connections: Count = 0


class Prepared(Response):
    type: Literal["prepared"] = "prepared"
    statelet_port: TcpPort
    snapshot_port: TcpPort


class Dumped(Response):
    """Records written, by table."""

    type: Literal["dumped"] = "dumped"
    path: str
    records: dict[str, int]


class Notification(Message):
    epoch: Count


class SourceCounts(Message):
    """What the source sent; bytes are those given to TCP on each stream, authentication left out."""

    pause_ns: Count = 0
    snapshot_records: Count = 0
    snapshot_bytes: Count = 0
    filler_bytes: Count = 0
    statelets_sent: Count = 0
    statelet_segments: Count = 0
    statelet_bytes: Count = 0
    frozen_ns: Count = 0
    drained_ns: tuple[Count, Count] = (0, 0)


class DestinationCounts(Message):
    """What the destination received. `duration_ns`: from accepting the snapshot connection to the last statelet;
    wire bytes: those TCP received, authentication and TLS included."""

    snapshot_records: Count = 0
    snapshot_bytes: Count = 0
    filler_bytes: Count = 0
    statelets_received: Count = 0
    statelets_installed: Count = 0
    statelet_segments: Count = 0
    statelet_bytes: Count = 0
    snapshot_wire_bytes: Count = 0
    statelet_wire_bytes: Count = 0
    first_sequence: Annotated[int, Field(ge=-1, le=2**63 - 1)] = -1
    last_sequence: Annotated[int, Field(ge=-1, le=2**63 - 1)] = -1
    st_q_in_max_packets: Count = 0
    st_q_in_max_bytes: Count = 0
    refused_connections: Count = 0
    snapshot_accepted_ns: Count = 0
    snapshot_installed_ns: Count = 0
    redirect_ns: Count = 0
    last_statelet_ns: Count = 0
    duration_ns: Count = 0
    live_ns: Count = 0


class PhaseChanged(Notification):
    """The instance is in another phase."""

    type: Literal["phase"] = "phase"
    node: Name
    phase: Name
    monotonic_ns: Count
    wall_ns: Count
    detail: Text = ""


class Redirect(Notification):
    """First underrun of st_q_in: the destination buffers packets from now on and wants the traffic."""

    type: Literal["redirect"] = "redirect"
    counts: DestinationCounts


class Drained(Notification):
    """The source took a drain packet on both ports and has stopped."""

    type: Literal["drained"] = "drained"
    ports_ns: tuple[Count, Count]


class Closed(Notification):
    """The source has sent its last statelet and closed both streams."""

    type: Literal["closed"] = "closed"
    counts: SourceCounts


class Completed(Notification):
    """The destination has installed the last statelet and processes pkt_q."""

    type: Literal["completed"] = "completed"
    counts: DestinationCounts


class Live(Notification):
    """The destination has emptied pkt_q."""

    type: Literal["live"] = "live"
    counts: DestinationCounts


ABORTED_BY_CONTROLLER = "aborted by the controller"
"""How the reason begins where an instance gave up only because it was told to."""


class Aborted(Notification):
    """This side has given up the migration; PhaseChanged before it says in which phase that left it."""

    type: Literal["aborted"] = "aborted"
    node: Name
    reason: Text
    source: SourceCounts | None = None
    destination: DestinationCounts | None = None


AnyRequest = (
    StatusRequest
    | ActivateRequest
    | PrepareInRequest
    | MigrateOutRequest
    | CommitRequest
    | AbortRequest
    | DumpStateRequest
    | StopRequest
)
AnyResponse = Accepted | Refused | Status | Prepared | Dumped
AnyNotification = PhaseChanged | Redirect | Drained | Closed | Completed | Live | Aborted
AnyAnswer = AnyResponse | AnyNotification

_REQUESTS: TypeAdapter[AnyRequest] = TypeAdapter(Annotated[AnyRequest, Field(discriminator="type")])
_ANSWERS: TypeAdapter[AnyAnswer] = TypeAdapter(Annotated[AnyAnswer, Field(discriminator="type")])


def parse_request(body: bytes) -> AnyRequest:
    """A request of the controller. Raises ProtocolError."""
    return _parse(_REQUESTS, body)


def parse_answer(body: bytes) -> AnyAnswer:
    """A response or notification of an instance. Raises ProtocolError."""
    return _parse(_ANSWERS, body)


def encode(message: Message) -> bytes:
    return message.model_dump_json().encode()


def _parse(adapter: TypeAdapter[_Parsed], body: bytes) -> _Parsed:
    try:
        return adapter.validate_json(body)
    except (ValidationError, ValueError) as error:
        raise ProtocolError(f"control message does not parse: {_first_fault(error)}") from None


def _first_fault(error: Exception) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:40] for part in fault["loc"])
        return f"{where or 'body'}: {fault['msg'][:120]}"
    return type(error).__name__
