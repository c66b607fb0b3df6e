from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.experiment.processes import Secrets, instance_specs, load_specs, status_path, trace_path
from harness.latency_generator.config import parse_config as parse_generator_config
from harness.plan import PlannedRun
from harness.testbed.testbed import ProcessSpec
from harness.testbed.topology import INSTANCES
from harness.vei.config import parse_config
from loadgen.configuration import EchoserverConfiguration, GeneratorConfiguration, parse_configuration
from tests.experiment.conftest import ProfileFactory, TestbedFactory

SECRETS = Secrets(key=bytes(range(200, 232)), drain_token=bytes(range(100, 116)))
FOLDER, LOG = Path("/results/run"), Path("/results/run/logs")
LATENCY_NS = 2_500_000

# Each is at or near a limit of the profile; the processes must take whatever a profile may say.
EXTREMES = {
    "defaults": (),
    "one flow": ("load.flows=1", "load.hosts=1", "load.new_flows_per_s=0", "load.server_packets_per_s=0"),
    "many flows": ("load.rate=900M", "load.flows=16384", "load.hosts=250", "load.echo_addresses=1"),
    "smallest frames": ("load.frame=74B", "load.seed=4294967295"),
    "largest frames": ("load.frame=1514B",),
    "largest queues": (
        "migration.pkt_q_packets=1048576",
        "migration.st_q_out_packets=4194304",
        "migration.st_q_in_packets=4194304",
    ),
    "smallest queues": (
        "migration.pkt_q_packets=64",
        "migration.st_q_out_packets=64",
        "migration.st_q_in_packets=64",
        "dataplane.burst_packets=1",
    ),
    "no latency": ("uplink.latency=0ms",),
}


def lines(specs: list[ProcessSpec]) -> dict[str, bytes]:
    """What each process reads, by its title."""
    return {spec.title: json.dumps(spec.configuration, allow_nan=False).encode() for spec in specs}


def parsed(specs: list[ProcessSpec]) -> dict[str, Any]:
    """Every configuration through the model of its process."""
    models = {
        "loadgen.echoserver_process": lambda line: parse_configuration(EchoserverConfiguration, line),
        "loadgen.generator_process": lambda line: parse_configuration(GeneratorConfiguration, line),
        "harness.vei": parse_config,
        "harness.latency_generator": parse_generator_config,
    }
    return {spec.title: models[spec.argv[-1]](lines(specs)[spec.title]) for spec in specs}


def all_specs(profile: Any, testbed: Any, planned: PlannedRun) -> list[ProcessSpec]:
    return [
        *instance_specs(profile, testbed, FOLDER, LOG, SECRETS, INSTANCES),
        *load_specs(profile, testbed, planned, FOLDER, LOG),
    ]


@pytest.mark.parametrize("backend", ["netem", "delay_line", "latency_generator", "none"])
@pytest.mark.parametrize("name", EXTREMES)
def test_every_process_takes_its_configuration(
    make_profile: ProfileFactory, make_testbed: TestbedFactory, planned: PlannedRun, name: str, backend: str
) -> None:
    profile = make_profile(*EXTREMES[name])
    found = parsed(all_specs(profile, make_testbed(backend), planned))
    with_element = (backend == "delay_line" and profile.uplink.latency_ns > 0) or backend == "latency_generator"
    assert set(found) == {"source", "destination", "loadgen", "echoserver"} | ({"latency"} if with_element else set())
    found["loadgen"].workload.workload()


def test_what_delays_is_configured_once(
    make_profile: ProfileFactory, make_testbed: TestbedFactory, planned: PlannedRun
) -> None:
    """One way crosses four links of 2.5 ms: each must be delayed by exactly one element."""
    for backend, latency_ns in (("delay_line", LATENCY_NS), ("netem", 0), ("latency_generator", 0), ("none", 0)):
        found = parsed(all_specs(make_profile(), make_testbed(backend), planned))
        delays = {found["source"].latency_ns, found["destination"].latency_ns}
        delays |= {found["echoserver"].latency_ns, found["loadgen"].extra_latency_ns}
        assert delays == {latency_ns}
    element = parsed(all_specs(make_profile(), make_testbed("delay_line"), planned))["latency"]
    assert element.latency_ns == LATENCY_NS
    netns = [(port.netns, port.interface) for port in element.ports]
    assert netns == [
        *(("t1234567-source", "up0"), ("t1234567-source", "mgmt0p")),
        *(("t1234567-destination", "up0"), ("t1234567-destination", "mgmt0p")),
    ]


def test_behind_the_latency_generator_are_the_ports_of_the_instances(
    make_profile: ProfileFactory, make_testbed: TestbedFactory, planned: PlannedRun
) -> None:
    found = parsed(all_specs(make_profile(), make_testbed("latency_generator"), planned))
    assert {port.interface for node in INSTANCES for port in found[node].ports} == {"inner0"}
    assert found["loadgen"].interface == found["echoserver"].interface == "up0"
    assert [(link.node, link.up.latency_ns, link.down.latency_ns) for link in found["latency"].links] == [
        ("source", LATENCY_NS, LATENCY_NS),
        ("destination", LATENCY_NS, LATENCY_NS),
    ]


def test_both_load_processes_know_the_same_workload(
    make_profile: ProfileFactory, make_testbed: TestbedFactory, planned: PlannedRun
) -> None:
    profile = make_profile("load.rate=100M", "load.frame=500B", "load.echo_addresses=3", "load.hosts=2")
    found = parsed(load_specs(profile, make_testbed("netem"), planned, FOLDER, LOG))
    loadgen, echoserver = found["loadgen"], found["echoserver"]
    assert loadgen.workload == echoserver.workload
    # 100 Mbit/s are both directions: 50 Mbit/s of requests of 4000 bits.
    assert loadgen.workload.rate_pps == 12_500
    assert loadgen.workload.duration_ns == profile.timing.warm_up_ns + profile.timing.load_until_ns
    assert loadgen.workload.seed == 77
    assert (loadgen.run, echoserver.run) == (3, 3)
    assert [str(host) for host in loadgen.hosts] == ["10.1.1.1", "10.1.1.2"]
    assert loadgen.echo_addresses == echoserver.echo_addresses
    assert (str(loadgen.gateway), str(echoserver.gateway)) == ("10.1.0.1", "198.18.0.1")
    assert loadgen.status_path != echoserver.status_path


def test_the_load_generator_waits_for_replies_as_long_as_the_profile_says(
    make_profile: ProfileFactory, make_testbed: TestbedFactory, planned: PlannedRun
) -> None:
    for wait_ms in (300, 5_000):
        profile = make_profile(f"timing.wait_for_replies={wait_ms}ms")
        found = parsed(load_specs(profile, make_testbed("netem"), planned, FOLDER, LOG))
        assert found["loadgen"].drain_ns == wait_ms * 1_000_000


def test_mixed_sizes_and_subscribers_reach_both_load_processes(
    make_profile: ProfileFactory, make_testbed: TestbedFactory, planned: PlannedRun
) -> None:
    overrides = ["load.rate=2928k", "load.frame_sizes=imix", "load.arrivals=on_off", "load.on=50ms", "load.off=20ms"]
    overrides += ["load.subscribers.cells=9", "load.subscribers.handover_mean=3s"]
    profile = make_profile(*overrides, "load.subscribers.repeat_until_confirmed=true")
    # No image that is always there serves subscribers.
    profile = profile.model_copy(update={"load": profile.load.model_copy(update={"workload": "subscribers"})})
    found = parsed(load_specs(profile, make_testbed("netem"), planned, FOLDER, LOG))
    assert found["loadgen"].workload == found["echoserver"].workload
    workload = found["loadgen"].workload.workload()
    # 366 bytes on average: 1464 kbit/s of requests are 500 of them.
    assert workload.rate_pps == 500
    assert workload.frame_mix == ((74, 7), (590, 4), (1514, 1))
    assert (workload.arrivals, workload.on_ns, workload.off_ns) == ("on_off", 50_000_000, 20_000_000)
    behaviour = workload.subscribers
    assert (behaviour.cells, behaviour.handover_mean_ns) == (9, 3_000_000_000)
    assert (behaviour.handover_distribution, behaviour.repeat_until_confirmed) == ("uniform", True)


def test_both_instances_own_the_same_addresses(
    make_profile: ProfileFactory, make_testbed: TestbedFactory, planned: PlannedRun
) -> None:
    found = parsed(instance_specs(make_profile(), make_testbed("netem"), FOLDER, LOG, SECRETS, INSTANCES))
    assert found["source"].ports == found["destination"].ports
    assert found["source"].management_address != found["destination"].management_address
    assert (found["source"].role, found["destination"].role) == ("source", "destination")
    assert found["source"].trace_path == trace_path(FOLDER, "source") != found["destination"].trace_path
    assert found["source"].status_path == status_path(FOLDER, "source") != found["destination"].status_path


def test_the_control_has_no_destination_and_an_unverified_run_no_trace(
    make_profile: ProfileFactory, make_testbed: TestbedFactory
) -> None:
    profile = make_profile("dataplane.verify=false")
    specs = instance_specs(profile, make_testbed("netem"), FOLDER, LOG, SECRETS, ("source",))
    assert [spec.node for spec in specs] == ["source"]
    assert parsed(specs)["source"].trace_path is None


def test_the_scheduler_of_the_profile_holds_for_every_loop(
    make_profile: ProfileFactory, make_testbed: TestbedFactory, planned: PlannedRun
) -> None:
    for override, scheduler in (("dataplane.scheduler=other", "other"), ("dataplane.scheduler=fifo", "fifo")):
        found = parsed(all_specs(make_profile(override), make_testbed("delay_line"), planned))
        assert {configuration.scheduler for configuration in found.values()} == {scheduler}


def test_secrets_travel_on_standard_input_only(
    make_profile: ProfileFactory, make_testbed: TestbedFactory, planned: PlannedRun
) -> None:
    specs = all_specs(make_profile(), make_testbed("delay_line"), planned)
    hidden = (SECRETS.key.hex(), SECRETS.drain_token.hex())
    for spec in specs:
        visible = " ".join([*spec.argv, spec.title, str(spec.log_path), str(spec.environment)])
        assert not any(secret in visible for secret in hidden)
    knowing = {title for title, line in lines(specs).items() if any(secret.encode() in line for secret in hidden)}
    assert knowing == {"source", "destination"}, "only the instances need them"


def test_secrets_are_not_shown_by_accident(make_profile: ProfileFactory, make_testbed: TestbedFactory) -> None:
    specs = instance_specs(make_profile(), make_testbed("netem"), FOLDER, LOG, SECRETS, INSTANCES)
    texts = [repr(SECRETS), *(repr(config) for config in parsed(specs).values())]
    broken = {**specs[0].configuration, "secret": SECRETS.key.hex() + "00"}
    with pytest.raises(UsageError) as raised:
        parse_config(json.dumps(broken).encode())
    assert "secret" in str(raised.value)
    for text in (*texts, str(raised.value)):
        assert SECRETS.key.hex() not in text
        assert SECRETS.drain_token.hex() not in text
        assert repr(SECRETS.key) not in text
