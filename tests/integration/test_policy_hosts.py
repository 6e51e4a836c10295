"""Policies on a network that spans two hosts: what each host's `policy test` says, the test's own model and real packets agree,
by IPv4 and by IPv6.

Two hosts have three instances each. What one begins is asked for at its own host as it leaves, and at the other as it arrives:
so a scenario is two lists of policies, and who asks whom is always an instance of the other host.
"""

import json
import subprocess
import sys

import pytest

import policy_model
from cli import until
from policy_documents import admin, app, apply, network, ports, remove_all, stack
from policy_peer import Peer, packets, refusals_at_once, told
from sandbox import INSIDE
from span_hosts import addresses, explained, inside, second_host, spanning
from test_policy import SCENARIOS as OF_ONE_HOST

PORTS = [80, 443, 5432]
QUESTIONS = [("tcp", p) for p in PORTS] + [("udp", 80), ("udp", 443)]
PEOPLE = {"web": ("default", {"app": "web", "tier": "front"}), "db": ("default", {"app": "db", "tier": "back"}),
          "shop": ("shop", {"app": "web", "tier": "front"})}
HERE, THERE, NET = 0, 1, "twotowns"


@pytest.fixture(scope="module")
def towns(house, busybox_layer, tmp_path_factory):
    root = tmp_path_factory.mktemp("towns") / "other"
    parties, peers = {}, {}
    with second_host(root, busybox_layer) as there, spanning(there, NET, 61) as runs:
        names = [[f"{person}{'ab'[side]}" for person in PEOPLE] for side in (HERE, THERE)]
        try:
            for side, run in enumerate(runs):
                for person, (stack_, labels) in PEOPLE.items():
                    name = f"{person}{'ab'[side]}"
                    flags = [f for k, v in {**labels, "io.proa.stack": stack_}.items() for f in ("-l", f"{k}={v}")]
                    run("run", "-d", "--name", name, "--network", NET, *flags, "busybox", "sleep", "100000")
                    peers[name] = Peer([*PORTS, 7001], *inside(run, name))
                    for family, address in zip((4, 6), addresses(run, name, NET)):
                        parties[name, family] = {"kind": "instance", "stack": stack_, "labels": {**labels, "io.proa.name": name},
                                                 "address": address, "network": NET, "deny": False, "side": side}
            for (_, _), party in parties.items():
                until(lambda run=runs[1 - party["side"]], a=party["address"]: explained(run, a))
            with refusals_at_once():
                yield runs, parties, peers
        finally:
            for p in peers.values():
                p.end()
            for run, list_ in zip(runs, names):
                run("rm", "-f", *list_, check=False)


@pytest.fixture(autouse=True)
def nothing_stays(request):
    yield
    if "towns" in request.fixturenames:
        for run in request.getfixturevalue("towns")[0]:
            remove_all(run)


def questions(parties):
    return [(source, target, *question) for source in parties for target in parties for question in QUESTIONS
            if source[1] == target[1] and parties[source]["side"] != parties[target]["side"]]


def both_ends(documents, parties, q):
    """By the policies of the host that each end is on."""
    a, b = parties[q[0]], parties[q[1]]
    return (policy_model.decide(documents[a["side"]], "egress", a, b, q[2], q[3]) and
            policy_model.decide(documents[b["side"]], "ingress", b, a, q[2], q[3]))


def compare(towns, here, there):
    runs, parties, peers = towns
    documents = (here, there)
    for run, list_ in zip(runs, documents):
        if list_:
            apply(*list_, run=run)
    asked, wrong = questions(parties), []
    for run, list_ in zip(runs, documents):  # each answers for both ends, by what it has
        said = told(asked, lambda q: f"{parties[q[0]]['address']} {parties[q[1]]['address']} {q[3]}/{q[2]}", run)
        for q in asked:
            model = policy_model.allowed(list_, parties[q[0]], parties[q[1]], q[2], q[3])
            if said[q][0] != model:
                wrong.append(f"{q}: model {model}, policy test {said[q]} of {'here' if run is runs[0] else 'there'}")
    found = packets(peers, {q: (q[0][0], [q[2], parties[q[1]]["address"], q[3]]) for q in asked})
    for q in asked:
        model = both_ends(documents, parties, q)
        if found[q] != model:
            wrong.append(f"{q}: model {model}, packets {found[q]}")
    assert not wrong, f"{len(wrong)} of {len(asked)}:\n" + "\n".join(wrong[:20])


ALL = {}


def out_to(*peers, numbers=PORTS):
    return network("out", {"podSelector": ALL, "policyTypes": ["Egress"], "egress": [{"to": list(peers), "ports": ports(*numbers)}]})


def in_from(*peers, numbers=PORTS, stack_="default"):
    return network("in", {"podSelector": ALL, "ingress": [{"from": list(peers), "ports": ports(*numbers)}]}, stack_)


WEB, ANY_STACK = {"podSelector": app("web")}, {"namespaceSelector": {}}
# The same on both hosts: the scenarios of one host that say something about these people, and more.
SAME = {name: OF_ONE_HOST[name] for name in (
    "nothing", "nobody is heard", "nobody speaks", "neither", "only a type of the other stack", "web reaches db on one port",
    "a range of ports", "a whole protocol", "everybody is heard", "a selector of both", "all stacks", "two policies add up", "expressions",
    "out to one port", "the strict network opens", "administrators deny", "the first of two", "the other order", "pass to the policies")}
SAME.update({
    "the other stack is heard": [network("x", {"podSelector": ALL, "ingress": [{"from": [{"namespaceSelector": stack("default")}]}]}, "shop")],
    "one name of the other host": [network("x", {"podSelector": ALL, "ingress": [
        {"from": [{"podSelector": {"matchLabels": {"io.proa.name": "dbb"}}}]}]})],
    "one half of the subnet": [in_from({"ipBlock": {"cidr": "10.77.20.128/25"}})],
    "one half of the other subnet": [in_from({"ipBlock": {"cidr": "fd77:20::80/121"}}, numbers=[80])],
    "out to a half but for one": [out_to({"ipBlock": {"cidr": "10.77.20.128/25", "except": ["10.77.20.130/32"]}},
                                         {"ipBlock": {"cidr": "fd77:20::/64", "except": ["fd77:20::82/128"]}})],
    "administrators open the shop": [admin("x", 3, {"ingress": [{"action": "Allow", "from": [{"namespaces": stack("default")}], "ports": [
        {"portNumber": {"protocol": "TCP", "port": 5432}}]}]}, {"namespaces": stack("shop")})],
    "administrators close a block": [admin("x", 3, {"egress": [{"action": "Deny", "to": [{"networks": ["fd77:20::/64"]}]}]})],
})
# Not the same: (here, there).
SPLIT = {
    "out here, in there": ([out_to(WEB, numbers=[80])], [in_from(WEB, numbers=[80, 443])]),
    "in here, out there": ([in_from(WEB, numbers=[443])], [out_to({"podSelector": ALL}, numbers=[443, 5432])]),
    "nothing leaves here": ([network("none", {"podSelector": ALL, "policyTypes": ["Egress"]})], []),
    "nothing comes in there": ([], [network("none", {"podSelector": ALL})]),
    "opened here only": ([in_from(ANY_STACK)], []),
    "opened there only": ([], [in_from(ANY_STACK, stack_="shop")]),
    "an administrator each": ([admin("x", 1, {"egress": [{"action": "Deny", "to": [{"namespaces": {}}], "ports": [
        {"portNumber": {"protocol": "TCP", "port": 80}}]}]})],
        [admin("y", 1, {"ingress": [{"action": "Deny", "from": [{"pods": {"podSelector": app("db")}}]}]})]),
    "allowed here, denied there": ([admin("x", 1, {"ingress": [{"action": "Allow", "from": [{"namespaces": {}}]}]})],
                                   [admin("x", 1, {"ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}]})]),
    "one family each": ([out_to({"ipBlock": {"cidr": "0.0.0.0/0"}})], [in_from({"ipBlock": {"cidr": "::/0"}})]),
}
SCENARIOS = {**{name: (documents, documents) for name, documents in SAME.items()}, **SPLIT}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_both_hosts_packets_and_model_agree(towns, scenario):
    compare(towns, *SCENARIOS[scenario])


def test_no_scenario_is_there_for_nothing(towns):
    _, parties, _ = towns
    asked = questions(parties)

    def answers(documents):
        return [both_ends(documents, parties, q) for q in asked]
    plain = answers(([], []))
    assert True in plain and False in plain and len(SCENARIOS) >= 35
    assert [s for s, documents in SCENARIOS.items() if answers(documents) == plain] == ["nothing"]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("side,direction", [(HERE, "egress"), (THERE, "ingress")])
def test_a_running_connection_ends_when_either_end_forbids_it(towns, side, direction, family):
    runs, parties, peers = towns
    client, address = peers["weba"], parties["dbb", family]["address"]
    try:
        assert client.hold(address, 7001) == "echo" and client.hold(address, 5432) == "echo"
        assert client.use() == ["echo", "echo"]
        apply(network("narrow", {"podSelector": app("web" if direction == "egress" else "db"), "policyTypes": [direction.capitalize()],
                                 direction: [{"ports": ports(5432)}]}), run=runs[side])
        assert client.use() == ["ended", "echo"]
    finally:
        client.drop()


# Runs where the attacker's links are: frames as they are given, on eth0.
SEND = """
import json, socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
for frame in json.loads(sys.argv[1]):
    s.send(bytes.fromhex(frame))
"""
TUNNEL = """
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(struct.pack("!II", 0x08000000, 61 << 8) + bytes.fromhex(sys.argv[2]), (sys.argv[1], 4789))
"""
# What comes in by eth0 with one of these words in it; ends with the last of them.
HEAR = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("eth0", 3))
s.settimeout(20)
print("up", flush=True)
words, found = sys.argv[1:], set()
while words[-1] not in found:
    data = s.recv(4096)
    found |= {w for w in words if w.encode() in data}
print(*sorted(found))
"""


def datagram(to_mac, from_mac, source, target, words):
    """A frame with a UDP packet of either family."""
    import ipaddress
    import struct
    a, b = ipaddress.ip_address(source), ipaddress.ip_address(target)
    udp = struct.pack("!HHHH", 4000, 80, 8 + len(words), 0)

    def summed(data):
        total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
        while total >> 16:
            total = (total & 0xffff) + (total >> 16)
        return ~total & 0xffff
    if a.version == 4:
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(words), 1, 0, 64, 17, 0, a.packed, b.packed)
        head = head[:10] + struct.pack("!H", summed(head)) + head[12:]
        kind = 0x0800
    else:
        head = struct.pack("!IHBB16s16s", 6 << 28, len(udp) + len(words), 17, 64, a.packed, b.packed)
        pseudo = a.packed + b.packed + struct.pack("!II", len(udp) + len(words), 17)
        udp = udp[:6] + struct.pack("!H", summed(pseudo + udp + words))
        kind = 0x86dd
    mac = [bytes.fromhex(m.replace(":", "")) for m in (to_mac, from_mac)]
    return (mac[0] + mac[1] + struct.pack("!H", kind) + head + udp + words).hex()


def test_forged_frames_do_not_cross(towns):
    """An instance sends in the name of another, of its own host or of this one, or of a gateway: only its own arrive."""
    runs, parties, _ = towns
    here, there = runs

    def mac(run, name):
        return json.loads(run("inspect", name).out)[0]["NetworkSettings"]["Networks"][NET]["MacAddress"]
    own, victim = mac(there, "webb"), mac(here, "dba")
    gateways = {4: "10.77.20.129", 6: "fd77:20::81"}
    frames, words = [], []
    # Sent to the other host itself: this host's address is before it when it arrives, which is a peer's.
    through = datagram(victim, own, parties["webb", 4]["address"], parties["dba", 4]["address"], b"word-in-a-tunnel-of-its-own")
    for family in (4, 6):
        target = parties["dba", family]["address"]
        forged = [(own, parties[other, family]["address"]) for other in ("dbb", "shopb", "weba")] + [(own, gateways[family])]
        forged += [(mac(there, "dbb"), parties["dbb", family]["address"]), (mac(here, "weba"), parties["weba", family]["address"])]
        for i, (from_mac, source) in enumerate([*forged, (own, parties["webb", family]["address"])]):
            word = f"word-{family}-{i}-" + ("own" if i == len(forged) else "forged")
            words.append(word)
            frames.append(datagram(victim, from_mac, source, target, word.encode()))
    hears = subprocess.Popen([*inside(here, "dba"), sys.executable, "-c", HEAR, "word-in-a-tunnel-of-its-own", *words], stdout=subprocess.PIPE, text=True)
    try:
        assert hears.stdout.readline() == "up\n"
        subprocess.run([*inside(there, "webb"), sys.executable, "-c", TUNNEL, INSIDE, through], check=True)
        subprocess.run([*inside(there, "webb"), sys.executable, "-c", SEND, json.dumps(frames)], check=True)
        assert hears.communicate(timeout=30)[0].split() == ["word-4-6-own", "word-6-6-own"]
    finally:
        hears.kill()
        hears.wait()
