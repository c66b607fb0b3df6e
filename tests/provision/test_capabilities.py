from __future__ import annotations

from harness.provision.capabilities import effective_capabilities, missing_privileges


def test_reads_the_effective_capabilities() -> None:
    assert effective_capabilities("Name:\tx\nCapEff:\t0000000000003000\n") == 0x3000
    assert effective_capabilities("nothing") == 0


def test_names_what_is_missing_and_asks_for_nothing_else() -> None:
    assert missing_privileges(0x3000) == ("CAP_SYS_ADMIN",)
    assert missing_privileges(0x3000 | 1 << 21) == ()
    assert len(missing_privileges(0)) == 3
