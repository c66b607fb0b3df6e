"""What the README tells a newcomer works as it stands: the VNF in one file, the commands, the profiles."""

from __future__ import annotations

import re
import socket
import tomllib
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from harness.cli import cli
from harness.dataplane.instance import MODE_ACTIVE, Instance, InstanceSettings
from harness.dataplane.table_check import dump
from harness.profile import parse_profile
from harness.profile.tasks import KINDS
from harness.vei.image import load_image

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    folder = tmp_path_factory.mktemp("images") / "counter"
    folder.mkdir()
    (folder / "program.py").write_text(program)
    (folder / "image.toml").write_text('name = "counter"\nversion = "1.0.0"\n')
    return folder


def test_the_vnf_of_the_readme_counts_and_forwards(image_folder: Path) -> None:
    image = load_image(image_folder, {}, 0)
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
    for outside, inside in pairs:
        outside.settimeout(20.0)
        inside.setblocking(False)
    instance = Instance(image, [inside for _, inside in pairs], InstanceSettings(scheduler="other", pkt_q_packets=64))
    instance.start()
    try:
        instance.set_mode(MODE_ACTIVE)
        request = bytes(Ether() / IP(src="10.1.1.1", dst="198.18.1.1") / UDP())
        answer = bytes(Ether() / IP(src="198.18.1.1", dst="10.1.1.1") / UDP())
        pairs[0][0].send(bytes(Ether() / ARP()))
        for _ in range(3):
            pairs[0][0].send(request)
            assert pairs[1][0].recv(2000) == request
        pairs[1][0].send(answer)
        assert pairs[0][0].recv(2000) == answer
        assert dump(image.tables) == {"host": [(0x0A010101, 4)]}
        assert instance.status()["reasons"] == {"not_ipv4": 1}
    finally:
        instance.close()


def test_every_command_the_readme_names_exists() -> None:
    named = set(re.findall(r"`harness (\w+)", README)) | {"doctor", "run", "show", "bench", "clean"}
    assert named <= set(cli.commands)


def test_profiles_of_the_readme_are_valid_as_they_stand() -> None:
    examples = [tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", README, re.DOTALL)]
    profiles = [parse_profile(example) for example in examples if "hosts" not in example]
    assert [task.kinds[0] for profile in profiles for task in profile.task] == list(KINDS)


def test_every_file_the_readme_names_exists() -> None:
    for path in re.findall(r"(profiles/[\w.]+\.toml|docs/[\w.]+|harness/[\w/]+\.py)", README):
        assert (ROOT / path).is_file(), path


def test_make_targets_are_those_of_the_readme() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"^make (\w+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
