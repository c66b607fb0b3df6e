from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.models.statelet_factor import (
    IMAGE_WORKLOADS,
    TABLE_II,
    Share,
    image_shares,
    image_statelets,
    statelet_factor,
)


@pytest.mark.parametrize(("row", "sigma"), [(0, 0.0258), (1, 0.0871), (2, 0.0938)])
def test_table_2(row, sigma):
    assert float(statelet_factor(TABLE_II[row].shares, 512)) == pytest.approx(sigma, abs=5.1e-5)


def test_the_row_of_intrusion_detection_is_not_reproduced():
    assert [abs(float(statelet_factor(e.shares, 512)) - e.printed) < 0.001 for e in TABLE_II] == [True, False, True]


def test_a_packet_as_statelet_is_duplication():
    assert float(statelet_factor([Share("packet", 1400, 1)], 1400)) == 1
    assert float(statelet_factor([Share("packet", 512, 1)], 512, 4)) == pytest.approx(516 / 512)


def test_the_nat_image():
    sizes = image_statelets("nat")
    assert sizes["udp_out"] == sizes["udp_in"] == 12
    assert sizes["udp_mapping"] == 16
    assert sum(IMAGE_WORKLOADS["nat"].values()) == pytest.approx(1)
    expected = (14 * 12 + 16) / 15 / 512
    assert float(statelet_factor(image_shares("nat", []), 512)) == pytest.approx(expected)
    only = image_shares("nat", [("tcp_out", 0.5), ("tcp_in", 0.5)])
    assert float(statelet_factor(only, 1400, 4)) == pytest.approx(24 / 1400)


def test_an_image_by_its_folder_or_file(tmp_path):
    folder = tmp_path / "counter"
    folder.mkdir()
    file = folder / "image.toml"
    file.write_text('[[statelets]]\nid = 1\nname = "count"\npayload_bytes = 8\n')
    for image in (folder, file):
        assert image_shares(str(image), [("count", 1.0)]) == [Share("count", 8, 1.0)]
    with pytest.raises(UsageError, match="give its workload, statelets per packet; it has count"):
        image_shares(str(folder), [])


@pytest.mark.parametrize("text", ["not toml", "statelets = 3", '[[statelets]]\nname = "x"\n'])
def test_a_broken_description_is_refused(tmp_path, text):
    (tmp_path / "image.toml").write_text(text)
    with pytest.raises(UsageError, match=r"image\.toml: no list of statelets"):
        image_statelets(str(tmp_path))


def test_mistakes_are_named():
    with pytest.raises(UsageError, match="no image 'nta'"):
        image_statelets("nta")
    with pytest.raises(UsageError, match="image 'nat' has no statelet 'udp'; it has arp_interior, "):
        image_shares("nat", [("udp", 1)])
    with pytest.raises(UsageError, match="statelet x: size and number"):
        statelet_factor([Share("y", 1, 1), Share("x", 1, -1)], 512)
    with pytest.raises(UsageError, match="mean packet size"):
        statelet_factor(TABLE_II[0].shares, 0)
