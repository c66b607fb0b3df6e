from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.sweep.load import load_sweep

GOOD = 'profile = "smoke.toml"\nmodes = ["statelet"]\n'


@pytest.mark.parametrize(
    "text",
    [
        '[set]\n"timing.window" = "6s"\n[matrix]\n"load.rate" = ["10M", "20M"]\n',
        '[set]\ntiming.window = "6s"\n[matrix]\nload.rate = ["10M", "20M"]\n',
        '[set.timing]\nwindow = "6s"\n[matrix.load]\nrate = ["10M", "20M"]\n',
    ],
)
def test_dotted_keys_may_be_quoted_or_tables(sweep_file, text):
    file = load_sweep(sweep_file(f"[sweep]\n{GOOD}{text}"))
    assert (file.settings, file.axes) == ({"timing.window": "6s"}, {"load.rate": ("10M", "20M")})


def test_defaults(sweep_file):
    file = load_sweep(sweep_file(f"[sweep]\n{GOOD}", name="named.toml"))
    assert file.name == "named"
    assert (file.table.repetitions, file.control_repetitions, file.table.retries) == (1, 1, 1)
    assert (file.table.keep, file.table.scale, file.table.stop) == ("figures", None, None)


def test_no_control_of_its_own_where_none_is_among_the_modes(sweep_file):
    file = load_sweep(sweep_file('[sweep]\nprofile = "smoke.toml"\nmodes = ["none", "statelet"]\n'))
    assert file.control_repetitions == 0


def test_overrides_reach_the_sweep_an_axis_and_all_cells(sweep_file):
    overrides = ["sweep.repetitions=7", "load.rate=5M", "load.flows=8", "vnf.image=pg"]
    axes = '[matrix]\n"load.rate" = ["10M", "20M"]\n"vnf.image" = ["nat"]\n'
    file = load_sweep(sweep_file(f"[sweep]\n{GOOD}{axes}"), overrides)
    assert file.table.repetitions == 7
    assert file.axes == {"load.rate": ("5M",), "vnf.image": ("pg",)}
    assert file.settings == {"load.flows": 8}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"[sweep]\n{GOOD}repetitons = 3\n", "sweep.repetitons: unknown key; did you mean repetitions?"),
        (f"[sweep]\n{GOOD}[sweep.stop]\nmetrik = 1\n", "sweep.stop.metrik: unknown key; did you mean metric?"),
        (f"[sweep]\n{GOOD}[matix]\n", "matix: unknown key; did you mean matrix?"),
        (f"[sweep]\n{GOOD}[sets]\n", "sets: unknown key; did you mean set?"),
        ("[matrix]\n", "sweep: is required"),
        ('[sweep]\nprofile = "smoke.toml"\n', "sweep.modes: is required"),
        ('[sweep]\nmodes = ["statelet"]\n', "sweep.profiles: no profile"),
        (f'[sweep]\n{GOOD}repetitions = "3"\n', "sweep.repetitions: must be a whole number, not '3'"),
        (f"[sweep]\n{GOOD}repetitions = 0\n", "sweep.repetitions: "),
        (f"[sweep]\n{GOOD}scale = 1.5\n", "sweep.scale: 1.5 must be above 0 and at most 1"),
        (f'[sweep]\n{GOOD}scale = "some"\n', "sweep.scale: "),
        (f'[sweep]\n{GOOD}keep = "some"\n', "sweep.keep: "),
        (f'[sweep]\n{GOOD}name = "a/b"\n', "sweep.name: 'a/b' must be"),
        ('[sweep]\nprofile = "smoke.toml"\nmodes = ["statlet"]\n', "unknown mode 'statlet'; did you mean statelet?"),
        ('[sweep]\nprofile = "smoke.toml"\nmodes = ["statelet", "statelet"]\n', "stands here twice"),
        (
            '[sweep]\nprofile = "smoke.toml"\nmodes = ["none"]\ncontrol_repetitions = 1\n',
            'sweep.control_repetitions: "none" is among sweep.modes already',
        ),
        (f'[sweep]\n{GOOD}[matrix]\n"load.rate" = []\n', "matrix.load.rate: an axis without a value"),
        (f'[sweep]\n{GOOD}[matrix]\n"load.rate" = "10M"\n', "matrix.load.rate: must be a list"),
        (f'[sweep]\n{GOOD}[matrix]\n"migration.modes" = [["none"]]\n', "a sweep has sweep.modes for it"),
        (f'[sweep]\n{GOOD}[set]\n"a.b" = 1\n[matrix]\n"a.b" = [1]\n', "set.a.b: is an axis of [matrix], too"),
        (f'[sweep]\n{GOOD}[[only]]\n"load.rate" = "10M"\n', "only[0].load.rate: no axis of this sweep"),
        (
            f'[sweep]\n{GOOD}[matrix]\n"load.rate" = ["10M"]\n[[exclude]]\n"load.rate" = "11M"\n',
            "exclude[0].load.rate: '11M' is no value of that axis; did you mean 10M?",
        ),
        (
            f'[sweep]\n{GOOD}[sweep.stop]\nmetric = "window.los_s"\nhalf_width = 0.1\n',
            "sweep.stop.metric: 'window.los_s': window has no 'los_s'; did you mean loss_s?",
        ),
        ("[sweep\n", "not valid TOML"),
    ],
)
def test_mistakes_name_the_key(sweep_file, text, message):
    path = sweep_file(text)
    with pytest.raises(UsageError) as raised:
        load_sweep(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)


def test_all_mistakes_are_told_at_once(sweep_file):
    path = sweep_file(f'[sweep]\n{GOOD}repetitons = 3\nretries = -1\n[matix]\n"load.rate" = 3\n')
    with pytest.raises(UsageError) as raised:
        load_sweep(path)
    assert len(str(raised.value).splitlines()) == 3


def test_a_missing_file_says_so():
    with pytest.raises(UsageError, match=r"nowhere\.toml: No such file"):
        load_sweep(Path("nowhere.toml"))
