from __future__ import annotations

import contextlib
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.remote.hosts import load_hosts, parse_hosts

GOOD = """
[defaults]
user = "lab"
variables = { site = "a", rack = "1" }
[hosts.alpha]
address = "192.0.2.1"
[hosts.beta]
address = "beta.example.org"
port = 2222
user = "root"
jump = "alpha"
variables = { rack = "3" }
[hosts.gamma]
address = "2001:db8::1"
jump = "beta"
[groups]
testbeds = ["gamma", "alpha"]
"""


def hosts(text: str = GOOD):
    return parse_hosts(tomllib.loads(text), "hosts.toml")


def faults(text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        hosts(text)
    return str(caught.value).splitlines()


def test_a_host_has_the_defaults_and_what_it_says_itself():
    found = hosts()
    assert [host.name for host in found] == ["alpha", "beta", "gamma"]
    alpha, beta = found["alpha"], found["beta"]
    assert (alpha.user, alpha.port, alpha.variables) == ("lab", 22, {"site": "a", "rack": "1"})
    assert (beta.user, beta.port, beta.variables) == ("root", 2222, {"site": "a", "rack": "3"})
    assert beta.title == "beta (root@beta.example.org:2222)"


def test_hosts_are_chosen_by_name_and_group_each_once():
    found = hosts()
    assert [host.name for host in found.select()] == ["alpha", "beta", "gamma"]
    assert [host.name for host in found.select(["testbeds", "beta", "alpha"])] == ["gamma", "alpha", "beta"]
    with pytest.raises(UsageError, match=r"no host or group 'testbed'; did you mean testbeds\?"):
        found.select(["testbed"])


def test_the_way_to_a_host_goes_through_its_jump_hosts():
    found = hosts()
    assert [host.name for host in found.way_to(found["gamma"])] == ["alpha", "beta", "gamma"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "hosts.toml: hosts: is required"),
        ("[hosts]", "hosts.toml: hosts: "),
        ("[hosts.a]\n", "hosts.toml: hosts.a.address: is required"),
        ("[hosts.a]\naddress = 5", "hosts.toml: hosts.a.address: must be text in quotes, not 5"),
        ("[hosts.a]\naddress = '-oProxyCommand=x'", "hosts.toml: hosts.a.address: '-oProxyCommand=x' must be one word"),
        ("[hosts.a]\naddress = 'a b'", "hosts.toml: hosts.a.address: 'a b' must be one word"),
        ("[hosts.a]\naddress = 'x'\nport = 0", "hosts.toml: hosts.a.port: must be greater than or equal to 1, not 0"),
        ("[hosts.a]\naddress = 'x'\nusr = 'y'", "hosts.toml: hosts.a.usr: unknown key; did you mean user?"),
        ("[defaults]\nusr = 'y'\n[hosts.a]\naddress = 'x'", "hosts.toml: defaults.usr: unknown key"),
        ("[hosts.'a/b']\naddress = 'x'", "hosts.toml: hosts.a/b: 'a/b' must be 1 to 64 letters"),
        ("[hosts.a]\naddress = 'x'\njump = 'b'", "hosts.toml: hosts.a.jump: no host 'b'; known: a"),
        ("[hosts.a]\naddress = 'x'\njump = 'a'", "hosts.toml: hosts.a.jump: the way to a leads in a circle"),
        ("[hosts.a]\naddress = 'x'\n[groups]\ng = ['b']", "hosts.toml: groups.g: no host 'b'"),
        ("[hosts.a]\naddress = 'x'\n[groups]\na = ['a']", "hosts.toml: groups.a: a host has this name"),
        ("[hosts.a]\naddress = 'x'\n[groups]\nall = []", "hosts.toml: groups.all: every host is in it already"),
        ("[host.a]\naddress = 'x'", "hosts.toml: host: unknown key; did you mean hosts?"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(text, line):
    assert any(found.startswith(line) for found in faults(text)), faults(text)


def test_a_circle_of_two_is_found():
    text = "[hosts.a]\naddress = 'x'\njump = 'b'\n[hosts.b]\naddress = 'y'\njump = 'a'"
    assert len(faults(text)) == 2


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["hosts", "groups", "defaults", "x"]), values, max_size=4))
def test_whatever_is_given_is_an_inventory_or_a_mistake(document):
    with contextlib.suppress(UsageError):
        parse_hosts(document)


def test_a_missing_file_is_named(tmp_path):
    (tmp_path / "hosts.toml").write_text(GOOD)
    with pytest.raises(UsageError, match=r"host\.toml: No such file or directory; did you mean hosts\.toml\?"):
        load_hosts(tmp_path / "host.toml")
