"""The guest's kernel has no VXLAN unless its module is loaded, and here it is not."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.uml.boot import MODULES, boot

_PROGRAM = """
import sys
from pathlib import Path
from harness.doctor.kernel import assess_features
from harness.errors import HarnessError
from harness.provision.connections.local import LocalConnection
from harness.provision.facts import gather_facts
from harness.provision.ownership import Ownership
from harness.provision.task import Context
from harness.provision.tasks.link import LinkEnd, LinkSettings
from harness.provision.tasks.netns import NetworkNamespace
from harness.provision.tasks.vxlan import VxlanLink
from harness.provision.tunnel import Tunnel

(finding,) = [each for each in assess_features(gather_facts()) if each.subject == "kernel: vxlan"]
print(finding.level, "-", finding.consequence)
with Ownership.acquire("abcdefgh", Path("/tmp/state")) as ownership:
    context = Context(LocalConnection(), ownership)
    namespace = NetworkNamespace("node", "abcdefgh-node")
    namespace.apply(context, [])
    LinkSettings("host", None, "lo").apply(context, [])  # a way to the other end
    task = VxlanLink("node", LinkEnd("abcdefgh-node", "up0", "02:00:00:00:00:01"), Tunnel(7, "127.0.0.1", "127.0.0.2"))
    try:
        task.apply(context, task.diff(task.observe(context)))
    except HarnessError as error:
        print(error.exit_code, "-", error)
    print("left:", [item.name for item in ownership.living()])
    namespace.undo(context)
"""


def test_a_kernel_without_tunnels_is_told_and_refused_in_one_line(folder: Path) -> None:
    assert "vxlan" not in MODULES
    (ended,) = boot(folder, [[sys.executable, "-c", _PROGRAM]], 100)
    assert ended.exit_status == 0, ended.output
    told, refused, left = ended.output.strip().splitlines()[-3:]
    assert told == "degraded - all nodes of a run have to be on this host (module vxlan)"
    assert refused.startswith("4 - tunnel abcdefgh-node/up0: kernel ")
    assert refused.endswith(" has no VXLAN (module vxlan): all nodes of a run have to be on one host")
    assert left == "left: ['abcdefgh-node']"
