"""Task kinds by the name a play uses for them."""

from __future__ import annotations

from harness.provision.task import Task
from harness.provision.tasks.address import Addresses
from harness.provision.tasks.bridge import Bridge, BridgePorts
from harness.provision.tasks.command import Command, RunningProgram
from harness.provision.tasks.fdb import ForwardingEntries
from harness.provision.tasks.file import FileContent
from harness.provision.tasks.link import LinkSettings, VethPair
from harness.provision.tasks.neighbour import Neighbours
from harness.provision.tasks.netns import NetworkNamespace
from harness.provision.tasks.offloads import OffloadsOff
from harness.provision.tasks.package import Packages
from harness.provision.tasks.process import Process, ProcessReady
from harness.provision.tasks.qdisc import Qdiscs
from harness.provision.tasks.route import DefaultRoute
from harness.provision.tasks.sysctl import RequiredSysctls, SysctlMember, Sysctls
from harness.provision.tasks.vxlan import VxlanLink

TASKS: dict[str, type[Task]] = {
    "address": Addresses,
    "bridge": Bridge,
    "bridge_port": BridgePorts,
    "command": Command,
    "default_route": DefaultRoute,
    "fdb": ForwardingEntries,
    "file": FileContent,
    "link": LinkSettings,
    "neighbour": Neighbours,
    "netns": NetworkNamespace,
    "offloads": OffloadsOff,
    "package": Packages,
    "process": Process,
    "process_ready": ProcessReady,
    "program": RunningProgram,
    "required_sysctl": RequiredSysctls,
    "qdisc": Qdiscs,
    "sysctl": Sysctls,
    "sysctl_member": SysctlMember,
    "veth": VethPair,
    "vxlan": VxlanLink,
}
