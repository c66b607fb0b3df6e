from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.provision.netlink import NetlinkError
from harness.provision.tasks.link import LinkEnd
from harness.provision.tasks.vxlan import VxlanLink, refusal
from harness.provision.tunnel import TUNNELS_MAX, Tunnel, derived_vni

RUN_IDS = st.from_regex(r"[a-z][a-z0-9]{7}", fullmatch=True)


@given(RUN_IDS, RUN_IDS)
def test_identifiers_of_a_run_are_valid_its_own_and_the_same_at_both_ends(one: str, other: str) -> None:
    of_one = [derived_vni(one, number) for number in range(TUNNELS_MAX)]
    assert of_one == [derived_vni(one, number) for number in range(TUNNELS_MAX)]
    assert len(set(of_one)) == TUNNELS_MAX
    assert all(0 < vni < 1 << 24 for vni in of_one)
    of_other = {derived_vni(other, number) for number in range(TUNNELS_MAX)}
    # 20 bits: two runs share all identifiers or none.
    assert of_other == set(of_one) or not of_other & set(of_one)


def test_runs_seldom_share_identifiers() -> None:
    assert len({derived_vni(f"run{number:05d}", 0) for number in range(1000)}) >= 998


@pytest.mark.parametrize("number", [-1, TUNNELS_MAX])
def test_a_run_has_so_many_tunnels_and_no_more(number: int) -> None:
    with pytest.raises(UsageError, match="at most 16"):
        derived_vni("abcdefgh", number)


@given(st.integers(1, (1 << 24) - 1))
def test_the_source_port_is_a_dynamic_one_with_another_behind_it(vni: int) -> None:
    assert 49152 <= Tunnel(vni, "192.0.2.1", "192.0.2.2").source_port < 65535


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"vni": 0}, "VNI 0"),
        ({"vni": 1 << 24}, "VNI 16777216"),
        ({"port": 0}, "UDP port 0"),
        ({"port": 65536}, "UDP port 65536"),
        ({"remote": "2001:db8::1"}, "remote address '2001:db8::1' of a tunnel: must be IPv4"),
        ({"local": "host; rm"}, "local address 'host; rm'"),
        ({"remote": "239.0.0.1"}, "that of one host"),
        ({"local": "0.0.0.0"}, "that of one host"),
    ],
)
def test_what_cannot_be_a_tunnel_is_refused(given_: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Tunnel(**{"vni": 7, "local": "192.0.2.1", "remote": "192.0.2.2", **given_})  # type: ignore[arg-type]


def test_a_tunnel_is_in_a_namespace() -> None:
    with pytest.raises(UsageError, match="up0: must be in a namespace"):
        VxlanLink("n", LinkEnd(None, "up0", "02:00:00:00:00:01"), Tunnel(7, "192.0.2.1", "192.0.2.2"))


def test_a_kernel_without_tunnels_is_one_line_with_exit_code_4() -> None:
    tunnel = Tunnel(7, "192.0.2.1", "192.0.2.2")
    said = refusal(NetlinkError("create tunnel up0", errno.EOPNOTSUPP), "abcdefgh-source/up0", tunnel, None)
    assert said.exit_code == 4
    assert str(said).startswith("tunnel abcdefgh-source/up0: kernel ")
    assert "module vxlan" in str(said)
    assert "\n" not in str(said)


def test_an_unexpected_refusal_keeps_the_kernel_s_words() -> None:
    error = NetlinkError("create tunnel up0", errno.EINVAL, "Invalid source address")
    assert refusal(error, "x", Tunnel(7, "192.0.2.1", "192.0.2.2"), None) is error
