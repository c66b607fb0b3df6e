from __future__ import annotations

import io
import tarfile

import pytest

from harness.errors import HarnessError
from harness.sweep.archive import packed, unpack


def archive(*names, link=None):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        if link:
            member = tarfile.TarInfo(link[0])
            member.type, member.linkname = tarfile.SYMTYPE, link[1]
            tar.addfile(member)
    return buffer.getvalue()


def test_what_is_packed_is_unpacked_as_it_was(tmp_path):
    made, runs = tmp_path / "made", tmp_path / "sweep/runs"
    folder = made / "one/01-statelet"
    folder.mkdir(parents=True)
    runs.mkdir(parents=True)
    (folder / "summary.json").write_bytes(b"{}")
    (folder.parent / "manifest.json").write_bytes(b"[]")
    assert unpack(packed(made, "one"), runs) == runs / "one/01-statelet"
    found = {path.relative_to(runs).as_posix() for path in runs.rglob("*") if path.is_file()}
    assert found == {"one/01-statelet/summary.json", "one/manifest.json"}
    assert [path.name for path in runs.parent.iterdir()] == ["runs"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an archive",
        archive(),
        archive("../outside"),
        archive("/etc/passwd"),
        archive(".incoming/01-none/x"),
        archive("one/01-none/x", "two/01-none/x"),
        archive("taken/01-none/x"),
        archive("one/x"),
        archive("one/01-none"),
        archive("one/01-none/x", "one/01-other/x"),
        archive("one/01-none/x", link=("one/link", "/etc")),
        archive("one/01-none/x", link=("one/01-none/link", "x")),
        archive("one/01-none/x", "one/01-none/x"),
        archive("one/01-none/x", "one/01-none/x/y"),
        archive("one/01-none/../x"),
        archive("one/01-none//x"),
        archive("one/01-none/x")[:-20],
    ],
    # An archive holds the time it was made at, a name of a test must not.
    ids=lambda _: "archive",
)
def test_what_is_no_experiment_directory_is_refused_and_nothing_is_left_of_it(tmp_path, content):
    runs = tmp_path / "sweep/runs"
    (runs / "taken").mkdir(parents=True)
    with pytest.raises(HarnessError):
        unpack(content, runs)
    assert [path.name for path in runs.parent.iterdir()] == ["runs"]
    assert [path.name for path in runs.iterdir()] == ["taken"]
    assert [path.name for path in tmp_path.iterdir()] == ["sweep"]
