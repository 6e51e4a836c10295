"""Two engine roots in one network namespace: the same names and labels in both, opposite policies. Each keeps its own rules,
whatever becomes of the other's; to each the other's instances are hosts outside.

In the default root "b" is a light machine, all others are containers.
"""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
from types import SimpleNamespace

import pytest

from cli import PROA, ended, proa, refuse, until
from policy_documents import app, apply, network, ports, remove_all
from policy_peer import PEER, Peer, refusals_at_once
from sandbox import INSIDE, OUTSIDE, STATE
from test_crash import pids_of

pytestmark = pytest.mark.vm
PORTS = [80, 443]
NAMES = ["twin-a", "twin-b"]


class Root:
    """A root with an a and a b on its default network; b is published at `published`."""

    def __init__(self, path, published, kinds):
        self.path, self.published, self.kinds = path, published, kinds

    def proa(self, *args, **kw):
        return proa(*(["--root", self.path] if self.path else []), *args, **kw)

    def begin(self):
        for name, kind in zip(NAMES, self.kinds):
            publish = ["-p", f"{self.published}:80"] if name == "twin-b" else []
            self.proa("run", "-d", "--name", name, "-l", "app=" + name[-1], *publish, *kind, "busybox", "sleep", "100000", timeout=120)
        seen = [self.proa("inspect", name).json[0] for name in NAMES]
        self.a, self.b = (s["NetworkSettings"]["Networks"]["proa"]["IPAddress"] for s in seen)
        self.peers = [self.peer(name, kind, s["State"]["Pid"]) for name, kind, s in zip(NAMES, self.kinds, seen)]
        self.tables = tables_of(self)

    def peer(self, name, kind, pid):
        if not kind:
            return Peer(PORTS, "nsenter", f"--net=/proc/{pid}/ns/net")
        self.proa("cp", PEER, name + ":/peer", timeout=60)
        return Peer(PORTS, PROA, "exec", "-i", name, program="/peer")

    def ask(self, address, port=None):
        """Whether a reaches that address; by all ports when none is named."""
        self.peers[0].ask([["tcp", address, p] for p in ([port] if port else PORTS)])
        answers = self.peers[0].answers()
        return answers[0] if port else answers

    def apply(self, *documents):
        apply(*documents, run=self.proa)

    def flows(self):
        return [json.loads(line) for line in self.proa("flows", "--format", "json", "--no-trunc").lines]

    def end(self):
        for p in self.peers:
            p.end()
        self.proa("rm", "-f", *NAMES, timeout=60)


def nft(*words):
    return subprocess.run(["nft", *words], check=True, text=True, capture_output=True).stdout


def links():
    return {name for _, name in socket.if_nameindex()}


def all_tables():
    return {line.removeprefix("table ") for line in nft("list", "tables").splitlines()}


def tables_of(root):
    """{family and word: the table}. Another root's are called by a number that is its own."""
    return {word: word + root.run.removeprefix("/run/proa") for word in ("inet proa-policy", "inet proa", "bridge proa")}


def others_in(port):
    """b is reached by a at that port, and by nobody else of this root."""
    return network("b", {"podSelector": app("b"), "ingress": [{"from": [{"podSelector": app("a")}], "ports": ports(port)}]})


@pytest.fixture(scope="module")
def twins(house):
    saved, path = house / "twins.tar", STATE + "/twin"
    proa("save", "-o", saved, "busybox", timeout=60)
    runs = set(os.listdir("/run"))
    proa("--root", path, "load", "-i", saved, timeout=60)
    first, second = Root(None, 18700, [[], ["--vm"]]), Root(path, 18710, [[], []])
    first.run, (second.run,) = "/run/proa", ["/run/" + d for d in set(os.listdir("/run")) - runs]
    for root in (first, second):
        root.begin()
    world = Peer(PORTS, "nsenter", "--net=/run/netns/outside")
    with refusals_at_once():
        yield SimpleNamespace(first=first, second=second, both=(first, second), world=world, image=saved)
    world.end()
    for root in (first, second):
        root.end()
    second.proa("system", "prune", "-f", timeout=60)


@pytest.fixture(autouse=True)
def nothing_stays(twins):
    for root, port in zip(twins.both, PORTS):
        root.apply(others_in(port))
    yield
    for root in twins.both:
        remove_all(run=root.proa)


def holds(twins):
    """What the two policies say, of packets, is so."""
    return [twins.first.ask(twins.first.b), twins.second.ask(twins.second.b)] == [[True, False], [False, True]]


def test_each_has_tables_of_its_own(twins):
    assert not set(twins.first.tables.values()) & set(twins.second.tables.values())
    assert {*twins.first.tables.values(), *twins.second.tables.values()} <= all_tables()


def test_opposite_policies_hold(twins):
    assert holds(twins)
    for root in twins.both:  # what was true for this root's numbers is not true for the other's
        remove_all(run=root.proa)
        assert root.ask(root.b) == [True, True]


def test_flows_are_each_roots_own(twins):
    assert holds(twins)
    for root, port, refused in zip(twins.both, PORTS, reversed(PORTS)):
        seen = {(f["Verdict"], f["From"], f["To"], f["Port"]) for f in root.flows()}
        assert {("allowed", *NAMES, f"{port}/tcp"), ("denied", *NAMES, f"{refused}/tcp")} <= seen
        other = twins.second if root is twins.first else twins.first
        assert not {other.a, other.b} & {end for f in seen for end in f[1:3]}


def test_marks_are_told_apart(twins):
    """Connections of both are remembered, by numbers that the other does not have."""
    numbers = [set(re.findall(r"ct mark set (0x50[0-9a-f]{6})", nft("list", "table", *root.tables["inet proa-policy"].split())))
               for root in twins.both]
    assert len(numbers[0]) == len(numbers[1]) == 2 and not numbers[0] & numbers[1]


@pytest.mark.parametrize("word", ["inet proa-policy", "inet proa", "bridge proa"])
def test_a_table_that_is_gone_is_missed_by_its_own_root_only(twins, word):
    for root, other in (twins.both, twins.both[::-1]):
        nft("delete", "table", *root.tables[word].split())
        assert other.ask(other.b) == [p == PORTS[twins.both.index(other)] for p in PORTS]
        reached = reaches(twins, other)
        root.proa("run", "--rm", "busybox", "true")
        assert root.tables[word] in all_tables() and holds(twins) and reached


def reaches(twins, root):
    """Whether the world reaches what it publishes."""
    root.apply(network("b", {"podSelector": app("b"), "ingress": [{}]}))
    try:
        twins.world.ask([["tcp", INSIDE, root.published]])
        return twins.world.answers() == [True]
    finally:
        root.apply(others_in(PORTS[twins.both.index(root)]))


def test_between_two_roots_there_is_the_world(twins):
    """The same names and labels do not open a way; addresses are not reached, published ports are as from outside."""
    for root, other in (twins.both, twins.both[::-1]):
        assert other.ask(root.b) == [False, False]
        assert other.ask(INSIDE, root.published) is False  # "from a": but not that one
        root.apply(network("b", {"podSelector": app("b"), "ingress": [{"from": [{"ipBlock": {"cidr": other.a + "/32"}}]}]}))
        assert other.ask(INSIDE, root.published) is True and root.ask(root.b) == [False, False]
        other.apply(network("a", {"podSelector": app("a"), "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": {}}]}]}))
        assert other.ask(INSIDE, root.published) is False
        assert other.ask(other.b) == [p == PORTS[twins.both.index(other)] for p in PORTS]
        other.proa("policy", "rm", "a")
        root.apply(others_in(PORTS[twins.both.index(root)]))


def test_both_publish_and_go_out(twins):
    for root in twins.both:
        assert reaches(twins, root) and root.ask(OUTSIDE) == [True, True]


def test_a_port_goes_to_who_holds_it(twins, name):
    """Its instance in one root was killed, and no command has seen that: the other root has the port, and all its packets."""
    first, second = twins.both
    command = ["run", "-d", "--name", name, "-p", "18720:80", "busybox", "sleep", "1000"]
    first.proa(*command)
    nft("delete", "table", *first.tables["inet proa"].split())
    first.proa("run", "--rm", "busybox", "true")  # what was made last is asked first
    monitor = list(pids_of("proa-monitor", first.proa("inspect", "-f", "{{.Id}}", name).out.strip()))
    assert len(monitor) == 1
    os.kill(monitor[0], signal.SIGKILL)
    until(lambda: ended(monitor[0]))
    second.proa(*command)
    there = second.peer(name, [], second.proa("inspect", "-f", "{{.State.Pid}}", name).out.strip())
    try:
        twins.world.ask([["tcp", INSIDE, 18720]])
        assert twins.world.answers() == [True]
    finally:
        there.end()
        for root in twins.both:
            root.proa("rm", "-f", name)


def test_a_subnet_is_one_roots(twins, name):
    """Chosen when neither was up: the second says so, and does not take the first one's packets."""
    for root in twins.both:
        root.proa("network", "create", "--subnet", "10.77.60.0/24", name)
    try:
        twins.first.proa("run", "--rm", "--network", name, "busybox", "true")
        bridge = twins.first.proa("network", "inspect", name).json[0]["Id"][:10]
        refuse("--root", twins.second.path, "run", "--rm", "--network", name, "busybox", "true",
               say=["10.77.60.0/24", "proa-" + bridge, "another state directory"])
        twins.first.proa("run", "--rm", "--network", name, "busybox", "true")
    finally:
        for root in twins.both:
            root.proa("network", "rm", name)


def make_old(root):
    """As if a program with other tables had made them."""
    policy, inet = (root.tables[word].split() for word in ("inet proa-policy", "inet proa"))
    for table in (policy, inet):
        version = re.search(r"set (v\d+) {", nft("list", "table", *table))[1]
        nft("delete", "set", *table, version)
    nft("add", "set", *inet, "v13", "{ type mark; elements = { 1 }; }")
    nft("flush", "map", *policy, "ingress4")
    os.unlink(root.run + "/networks/rules.version")


def test_an_update_makes_rules_anew(twins):
    """Of each root with its first command; a root does not begin beside tables that all roots shared."""
    first, second = twins.both
    make_old(first)
    assert first.ask(first.b) == [False, False]
    nft("delete", "table", *second.tables["inet proa"].split())
    refuse("--root", second.path, "run", "--rm", "busybox", "true", say=["older", "proa ps"])
    first.proa("ps")
    second.proa("run", "--rm", "busybox", "true")
    assert holds(twins)
    make_old(second)
    nft("delete", "set", *second.tables["inet proa"].split(), "v13")
    second.proa("ps")
    assert holds(twins)


def give_default_bridge(root):
    """As an older program did where the default root was not up."""
    with sqlite3.connect(root.path + "/proa.db") as db:
        db.execute("UPDATE network SET bridge='proa0' WHERE name='proa'")
    db.close()
    os.unlink(root.run + "/networks/rules.version")


@pytest.mark.leaky  # what was there for the second root is gone for a while
def test_one_goes_the_other_stays(twins):
    """A root that is pruned takes what is its own, also when its directory has gone before; the other goes on."""
    first, second = twins.both
    for gone in (False, True):
        second.end()
        bridge = "proa-" + second.proa("network", "inspect", "proa").json[0]["Id"][:10]
        assert bridge in links()
        if gone:
            shutil.rmtree(second.path)
        second.proa("system", "prune", "-f", timeout=60)
        assert bridge not in links() and not set(second.tables.values()) & all_tables()
        assert first.ask(first.b) == [True, False] and reaches(twins, first)
        if gone:
            second.proa("load", "-i", twins.image, timeout=60)
        else:
            give_default_bridge(second)
        second.begin()
        second.apply(others_in(PORTS[1]))
        assert holds(twins)
