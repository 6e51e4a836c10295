"""Policies: `policy test`, real packets and a model of the test's own (policy_model.py) must agree.

A town of instances is made once: three stacks on one network, two instances on a network that denies
by default, one server in the world outside, the host. Each scenario is a set of policies; every pair of
parties is asked for every port, three times.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys

import pytest

import policy_model
from cli import inspect, proa, refuse
from policy_documents import admin, app, apply, network, ports, remove_all, stack
from policy_peer import Peer, agree, packets, refusals_at_once, told
from sandbox import INSIDE, OUTSIDE

PORTS = [80, 81, 443, 5432]
QUESTIONS = [("tcp", p) for p in PORTS] + [("udp", 80), ("udp", 443)]

# name: stack, labels, network, published ports
PEOPLE = {
    "web": ("default", {"app": "web", "tier": "front"}, "proa", {}),
    "db": ("default", {"app": "db", "tier": "back"}, "proa", {}),
    "plain": ("default", {}, "proa", {}),
    "shopweb": ("shop", {"app": "web", "tier": "front"}, "proa", {("tcp", 80): 18180, ("udp", 443): 18443}),
    "shopdb": ("shop", {"app": "db", "tier": "back", "env": "prod"}, "proa", {}),
    "front": ("edge", {"app": "proxy", "tier": "front"}, "proa", {("tcp", 80): 18280}),
    "strict1": ("default", {"app": "web"}, "strict", {}),
    "strict2": ("default", {"app": "db"}, "strict", {}),
}


def name_of(person):
    return "town-" + person


@pytest.fixture(scope="module")
def town(house):
    proa("network", "create", "--default-deny", "strict")
    parties, peers = {}, {}
    for person, (stack, labels, network, published) in PEOPLE.items():
        flags = [f for k, v in labels.items() for f in ("-l", f"{k}={v}")]
        flags += ["-l", f"io.proa.stack={stack}"] if stack != "default" else []
        flags += [f for (protocol, port), outside in published.items() for f in ("-p", f"{outside}:{port}/{protocol}")]
        proa("run", "-d", "--name", name_of(person), "--network", network, *flags, "busybox", "sleep", "100000")
        seen = inspect(name_of(person))
        address = seen["NetworkSettings"]["Networks"][network]["IPAddress"]
        parties[person] = {"kind": "instance", "stack": stack, "labels": {**labels, "io.proa.name": name_of(person)},
                           "address": address, "network": network, "deny": network == "strict",
                           "gateway": seen["NetworkSettings"]["Networks"][network]["Gateway"],
                           "published": published}
        peers[person] = Peer(PORTS, "nsenter", f"--net=/proc/{seen['State']['Pid']}/ns/net")
    parties["world"] = {"kind": "world", "address": OUTSIDE}
    parties["host"] = {"kind": "host"}
    peers["world"] = Peer(PORTS, "nsenter", "--net=/run/netns/outside")
    peers["host"] = Peer(PORTS)
    with refusals_at_once():
        yield parties, peers
    for p in peers.values():
        p.end()
    proa("rm", "-f", *map(name_of, PEOPLE), timeout=120)
    proa("network", "rm", "strict")


@pytest.fixture(autouse=True)
def nothing_stays(request):
    yield
    remove_all()


def where(parties, source, target, protocol, port):
    """The address and port that a packet really goes to, or None where there is no such way."""
    there = parties[target]
    if target == "host":  # by two of its addresses (a UDP server answers from the nearest)
        return (INSIDE if protocol == "tcp" else parties[source]["gateway"], port)
    if target == "world":
        return (OUTSIDE, port)
    if source == "world":
        published = there["published"].get((protocol, port))
        return (INSIDE, published) if published else None
    return (there["address"], port)


def questions(parties):
    for source in parties:
        for target in parties:
            instances = {parties[source]["kind"], parties[target]["kind"]}
            if source != target and "instance" in instances:
                for protocol, port in QUESTIONS:
                    yield source, target, protocol, port


def apart(parties, q):
    """On different networks: what the policies say does not matter, and nothing comes back."""
    a, b = (parties[p].get("network") for p in q[:2])
    return a and b and a != b


def real(parties, peers, asked, everything):
    places = {q: where(parties, *q) for q in asked if everything or not apart(parties, q)}
    found = packets(peers, {q: (q[0], [q[2], *place]) for q, place in places.items() if place})
    return {q: found.get(q, False) for q in asked}


def words(q):
    source, target, protocol, port = q

    def word(party):
        return {"world": OUTSIDE, "host": "host"}.get(party) or name_of(party)
    return f"{word(source)} {word(target)} {port}/{protocol}"


def compare(town, documents, at_least=400):
    parties, peers = town
    if documents:
        apply(*documents)
    asked = list(questions(parties))
    assert len(asked) >= at_least
    model = {q: policy_model.allowed(documents, parties[q[0]], parties[q[1]], q[2], q[3]) for q in asked}
    agree(model, told(asked, words), real(parties, peers, asked, not documents))
    return model


SEEN = "allowed|denied|stray|refused|named|begun|piecers"  # sets of what was seen
ALL, WORLD4 = {}, {"ipBlock": {"cidr": "0.0.0.0/0"}}
SCENARIOS = {
    "nothing": [],
    "nobody is heard": [network("none", {"podSelector": ALL})],
    "nobody speaks": [network("none", {"podSelector": ALL, "policyTypes": ["Egress"]})],
    "neither": [network("none", {"podSelector": ALL, "policyTypes": ["Ingress", "Egress"]})],
    "only a type of the other stack": [network("none", {"podSelector": ALL}, "shop")],
    "web reaches db on one port": [network("db", {"podSelector": app("db"), "ingress": [
        {"from": [{"podSelector": app("web")}], "ports": ports(5432)}]})],
    "a range of ports": [network("db", {"podSelector": app("db"), "ingress": [
        {"ports": [{"port": 80, "endPort": 443}, {"protocol": "UDP", "port": 443}]}]})],
    "a whole protocol": [network("db", {"podSelector": app("db"), "ingress": [{"ports": [{"protocol": "UDP"}]}]})],
    "everybody is heard": [network("all", {"podSelector": ALL, "ingress": [{}]})],
    "another stack is heard": [network("x", {"podSelector": app("web"), "ingress": [
        {"from": [{"namespaceSelector": stack("edge")}]}, {"from": [{"podSelector": ALL}], "ports": ports(80)}]}, "shop")],
    "a selector of both": [network("x", {"podSelector": ALL, "ingress": [
        {"from": [{"namespaceSelector": stack("shop"), "podSelector": app("web")}], "ports": ports(80, 81)}]})],
    "all stacks": [network("x", {"podSelector": ALL, "ingress": [{"from": [{"namespaceSelector": {}}]}]})],
    "two policies add up": [
        network("a", {"podSelector": ALL, "ingress": [{"from": [{"podSelector": app("web")}], "ports": ports(80)}]}),
        network("b", {"podSelector": app("db"), "ingress": [{"from": [{"podSelector": ALL}], "ports": ports(5432)}]})],
    "expressions": [network("x", {"podSelector": {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, "ingress": [
        {"from": [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]}}]}]})],
    "without a label": [network("x", {"podSelector": {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]},
                                      "ingress": [{"from": [{"podSelector": {"matchExpressions": [
                                          {"key": "app", "operator": "In", "values": ["db", "cache"]}]}}]}]})],
    "out to one port": [network("x", {"podSelector": ALL, "policyTypes": ["Egress"], "egress": [{"ports": ports(443)}]})],
    "out to the world only": [network("x", {"podSelector": ALL, "policyTypes": ["Egress"], "egress": [
        {"to": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]}]})],
    "a block with a hole": [network("x", {"podSelector": ALL, "policyTypes": ["Egress"], "egress": [
        {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [OUTSIDE + "/32"]}}]}]})],
    "in from a block": [network("x", {"podSelector": ALL, "ingress": [
        {"from": [{"ipBlock": {"cidr": "198.51.100.0/24", "except": ["198.51.100.128/25"]}}]}]}, "shop")],
    "in but not from the world": [network("x", {"podSelector": ALL, "ingress": [
        {"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["198.51.100.0/24"]}}]}]}, "shop")],
    "the host may be asked": [network("x", {"podSelector": app("web"), "policyTypes": ["Egress"], "egress": [
        {"to": [{"nodes": {}}], "ports": ports(80)}, {"to": [{"podSelector": ALL}]}]})],
    "everything but the host": [network("x", {"podSelector": ALL, "policyTypes": ["Egress"], "egress": [{}]})],
    "one name": [network("x", {"podSelector": {"matchLabels": {"io.proa.name": "town-plain"}}})],
    "the strict network opens": [network("x", {"podSelector": ALL, "policyTypes": ["Ingress", "Egress"],
                                               "ingress": [{"from": [{"podSelector": app("web")}]}],
                                               "egress": [{"to": [{"podSelector": app("db")}], "ports": ports(80)}]})],
    "names that nobody has asked for": [network("x", {"podSelector": app("web"), "policyTypes": ["Egress"], "egress": [
        {"to": [{"domainNames": ["example.com", "*.example.org"]}]}, {"to": [{"podSelector": ALL}], "ports": ports(81)}]})],
    "administrators deny": [admin("x", 10, {"ingress": [{"action": "Deny", "from": [{"namespaces": {}}], "ports": [
        {"portNumber": {"protocol": "TCP", "port": 80}}]}]})],
    "administrators allow": [admin("x", 10, {"ingress": [{"action": "Allow", "from": [{"namespaces": stack("edge")}]}]}),
                             network("none", {"podSelector": ALL}, "shop")],
    "the first of two": [admin("a", 5, {"ingress": [{"action": "Allow", "from": [{"pods": {"podSelector": app("web")}}]}]}),
                         admin("b", 6, {"ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}]})],
    "the other order": [admin("a", 7, {"ingress": [{"action": "Allow", "from": [{"pods": {"podSelector": app("web")}}]}]}),
                        admin("b", 6, {"ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}]})],
    "pass to the policies": [
        admin("a", 5, {"ingress": [{"action": "Pass", "from": [{"namespaces": {}}], "ports": [
            {"portRange": {"start": 80, "end": 81}}]}]}),
        admin("b", 6, {"ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}]}),
        network("db", {"podSelector": app("db"), "ingress": [{"from": [{"podSelector": app("web")}], "ports": ports(81, 443)}]})],
    "administrators of some": [admin("x", 10, {"egress": [{"action": "Deny", "to": [{"networks": ["198.51.100.0/24"]}]},
                                                           {"action": "Allow", "to": [{"nodes": {}}]}]},
                                     {"pods": {"namespaceSelector": stack("shop"), "podSelector": app("web")}})],
    "administrators open a stack": [admin("x", 0, {"ingress": [{"action": "Allow", "from": [
        {"pods": {"namespaceSelector": stack("edge"), "podSelector": {}}}]}]}, {"namespaces": stack("shop")})],
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_three_answers_agree(town, scenario):
    compare(town, SCENARIOS[scenario])


def test_the_table_is_not_all_of_one_kind(town):
    """Each scenario but the first changes an answer, so none is there for nothing."""
    parties, _ = town
    asked = list(questions(parties))

    def answers(documents):
        return [policy_model.allowed(documents, parties[q[0]], parties[q[1]], q[2], q[3]) for q in asked]
    plain = answers([])
    assert True in plain and False in plain
    assert not [s for s, documents in SCENARIOS.items() if documents and answers(documents) == plain]


# --- the same for policies that nobody thought of ---

def random_selector(r):
    return r.choice([{}, app("web"), app("db"), app("proxy"), {"matchLabels": {"tier": "front"}},
                     {"matchExpressions": [{"key": "tier", "operator": r.choice(["Exists", "DoesNotExist"])}]},
                     {"matchExpressions": [{"key": "app", "operator": r.choice(["In", "NotIn"]), "values": ["web", "x"]}]}])


def random_stacks(r):
    return r.choice([{}, stack("default"), stack("shop"), stack("edge"),
                     {"matchExpressions": [{"key": "io.proa.stack", "operator": "NotIn", "values": ["shop"]}]}])


def random_block(r):
    return r.choice(["0.0.0.0/0", "198.51.100.0/24", "198.51.100.2/32", "10.0.0.0/8", "198.51.100.128/25", "::/0"])


def random_peer(r, administrators):
    if administrators:
        return r.choice([{"namespaces": random_stacks(r)}, {"nodes": {}},
                         {"pods": {"namespaceSelector": random_stacks(r), "podSelector": random_selector(r)}},
                         {"networks": [random_block(r) for _ in range(r.randint(1, 3))]}])
    return r.choice([{"podSelector": random_selector(r)}, {"namespaceSelector": random_stacks(r)}, {"nodes": {}},
                     {"namespaceSelector": random_stacks(r), "podSelector": random_selector(r)},
                     {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["198.51.100.0/25"]}}, {"ipBlock": {"cidr": random_block(r)}}])


def random_ports(r, administrators):
    protocol, first = r.choice(["TCP", "UDP"]), r.choice(PORTS)
    last = r.randint(first, 6000)
    if administrators:
        return r.choice([{"portNumber": {"protocol": protocol, "port": first}},
                         {"portRange": {"protocol": protocol, "start": first, "end": last}}])
    return r.choice([{"protocol": protocol, "port": first}, {"protocol": protocol, "port": first, "endPort": last},
                     {"protocol": protocol}])


def random_rules(r, direction, administrators):
    rules = []
    for _ in range(r.randint(0, 3)):
        rule = {"from" if direction == "ingress" else "to": [random_peer(r, administrators) for _ in range(r.randint(1, 2))]}
        if administrators:
            rule["action"] = r.choice(["Allow", "Deny", "Pass"])
        elif r.random() < 0.1:
            rule = {}
        if r.random() < 0.7:
            rule["ports"] = [random_ports(r, administrators) for _ in range(r.randint(1, 2))]
        rules.append(rule)
    return rules


def random_policy(r, number):
    administrators = r.random() < 0.4
    rules = {d: random_rules(r, d, administrators) for d in ("ingress", "egress") if r.random() < 0.7}
    if administrators:
        subject = r.choice([{"namespaces": random_stacks(r)},
                            {"pods": {"namespaceSelector": random_stacks(r), "podSelector": random_selector(r)}}])
        return admin(f"r{number}", r.randint(0, 3), rules, subject)
    types = [d.capitalize() for d in rules] or [r.choice(["Ingress", "Egress"])]
    return network(f"r{number}", {"podSelector": random_selector(r), "policyTypes": types, **rules},
                   r.choice(["default", "shop", "edge"]))


@pytest.mark.parametrize("turn", range(int(os.environ.get("PROA_ROUNDS", "12"))))
def test_random_policies(town, turn):
    seed = int(os.environ.get("PROA_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    print("seed", seed)
    r = random.Random(seed)
    documents = [random_policy(r, i) for i in range(r.randint(1, 6))]
    try:
        compare(town, documents)
    except AssertionError as e:
        pytest.fail(f"PROA_SEED={seed}\n{json.dumps(documents)}\n{e}", pytrace=False)


# --- what is seen from within a connection ---

SERVER = """
import socket, sys
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("up", flush=True)
c, _ = s.accept()
try:
    while data := c.recv(100):
        c.sendall(data)
except OSError as e:
    print(type(e).__name__)
"""
CLIENT = """
import socket, sys, time
c = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
try:
    while True:
        c.sendall(b"x")
        if not c.recv(1):
            break
        print("alive", flush=True)
        time.sleep(0.02)
except OSError as e:
    print(type(e).__name__, flush=True)
"""


def within(person, code, *args):
    pid = inspect(name_of(person))["State"]["Pid"]
    return subprocess.Popen(["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", code, *map(str, args)],
                            stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_a_running_connection_that_is_forbidden_ends(town, direction):
    parties, _ = town
    server = within("db", SERVER, 7001)
    assert server.stdout.readline() == "up\n"
    client = within("web", CLIENT, parties["db"]["address"], 7001)
    try:
        assert client.stdout.readline() == "alive\n"
        spec = {"podSelector": app("db" if direction == "ingress" else "web"), "policyTypes": [direction.capitalize()],
                direction: [{"ports": ports(80)}]}
        apply(network("narrow", spec))
        lines, _ = client.communicate(timeout=20)
        assert lines.splitlines()[-1] == "ConnectionResetError"
    finally:
        for p in (client, server):
            p.kill()
            p.wait()


def test_a_connection_that_stays_allowed_goes_on(town):
    parties, _ = town
    server = within("db", SERVER, 7002)
    assert server.stdout.readline() == "up\n"
    client = within("web", CLIENT, parties["db"]["address"], 7002)
    try:
        assert client.stdout.readline() == "alive\n"
        for port in range(1, 12):
            apply(network("wide", {"podSelector": ALL, "ingress": [{"ports": ports(7002, port)}]}))
        proa("policy", "rm", "wide")
        for _ in range(20):
            assert client.stdout.readline() == "alive\n"
    finally:
        for p in (client, server):
            p.kill()
            p.wait()


FLOOD = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], int(sys.argv[2])))
while True:
    try:
        s.send(b"x")
    except OSError:
        pass
"""
COUNT = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", int(sys.argv[1])))
print("up", flush=True)
s.recv(10)
print("came", flush=True)
"""


def test_no_packet_passes_while_policies_change(town):
    """Forbidden by one policy, then by another, again and again: never is there a moment without."""
    parties, _ = town

    def closed(number):
        return network("closed", {"podSelector": app("db"), "ingress": [{"ports": ports(number)}]})
    apply(closed(1))
    listener = within("db", COUNT, 7003)
    assert listener.stdout.readline() == "up\n"
    flood = within("web", FLOOD, parties["db"]["address"], 7003)
    try:
        for number in range(2, 42):
            apply(closed(number))
        assert listener.poll() is None
        proa("policy", "rm", "closed")
        assert listener.communicate(timeout=20)[0] == "came\n"
    finally:
        for p in (flood, listener):
            p.kill()
            p.wait()


def test_metadata_addresses(town):
    """Refused by default and under a wide block; reached when they are named."""
    parties, peers = town
    subprocess.run(["ip", "-n", "outside", "addr", "add", "169.254.169.254/32", "dev", "lo"], check=True)
    ask = [["tcp", "169.254.169.254", 80]]

    def reached():
        peers["web"].ask(ask)
        return peers["web"].answers()[0]

    def out(cidr):
        return network("out", {"podSelector": ALL, "policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": {"cidr": cidr}}]}]})
    try:
        told = proa("policy", "test", name_of("web"), "169.254.169.254", "80", check=False)
        assert told.rc == 1 and "metadata" in told.out
        assert not reached()
        for cidr, expected in (("0.0.0.0/0", False), ("169.0.0.0/8", False), ("169.254.169.254/32", True), ("169.254.0.0/16", True)):
            apply(out(cidr))
            assert reached() == expected, cidr
            assert (proa("policy", "test", name_of("web"), "169.254.169.254", "80", check=False).rc == 0) == expected
    finally:
        subprocess.run(["ip", "-n", "outside", "addr", "del", "169.254.169.254/32", "dev", "lo"], check=True)


def test_published_ports_are_no_way_around(town):
    """Another stack's port that is published on the host: not for an instance, by whichever address of the host."""
    parties, peers = town
    for address in (INSIDE, parties["web"]["gateway"]):
        peers["web"].ask([["tcp", address, 18180], ["tcp", address, 18280]])
        assert peers["web"].answers() == [False, False]
    peers["shopdb"].ask([["tcp", INSIDE, 18180], ["tcp", INSIDE, 18280]])
    assert peers["shopdb"].answers() == [True, False]
    peers["host"].ask([["tcp", "127.0.0.1", 18180], ["tcp", INSIDE, 18280]])
    assert peers["host"].answers() == [True, True]


def test_a_new_instance_and_a_new_name_are_under_the_policies(town, name):
    _, peers = town
    apply(network("x", {"podSelector": {"matchLabels": {"role": "late"}}, "ingress": [
        {"from": [{"podSelector": {"matchLabels": {"io.proa.name": "town-db"}}}]}]}))
    proa("run", "-d", "--name", name, "-l", "role=late", "busybox", "sleep", "1000")
    address = inspect(name)["NetworkSettings"]["IPAddress"]
    server = Peer(PORTS, "nsenter", f"--net=/proc/{inspect(name)['State']['Pid']}/ns/net")

    def reached(by):
        peers[by].ask([["tcp", address, 80]])
        return peers[by].answers()[0]
    try:
        assert (reached("db"), reached("web")) == (True, False)
        proa("rename", name_of("db"), "town-other")
        try:
            assert (reached("db"), reached("web")) == (False, False)
        finally:
            proa("rename", "town-other", name_of("db"))
        assert reached("db")
    finally:
        server.end()


def test_verbs(town):
    text = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: verbs, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - name: only-web
    from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: 5432}]
"""
    assert proa("policy", "apply", "--dry-run", "-", input=text).out == ""
    assert proa("policy", "ls", "-q").out == ""
    assert proa("policy", "apply", "-", input=text).out == "NetworkPolicy shop/verbs created\n"
    assert proa("policy", "apply", "-", input=text).out == "NetworkPolicy shop/verbs unchanged\n"
    assert proa("policy", "apply", "-", input=text.replace("5432", "5433")).out == "NetworkPolicy shop/verbs configured\n"
    assert proa("policy", "ls", "--format", "{{.Kind}} {{.Stack}} {{.Name}}").lines == ["NetworkPolicy shop verbs"]
    document = proa("policy", "inspect", "shop/verbs").json[0]
    assert document["spec"]["ingress"][0]["ports"] == [{"port": 5433}]
    assert proa("policy", "apply", "-", input=json.dumps(document)).out == "NetworkPolicy shop/verbs unchanged\n"
    told = proa("policy", "test", name_of("shopweb"), name_of("shopdb"), "5433")
    assert told.out == "allow: NetworkPolicy shop/verbs: only-web\n"
    told = proa("policy", "test", name_of("shopweb"), name_of("shopdb"), "5432/tcp", check=False)
    assert (told.rc, told.out) == (1, "deny: NetworkPolicy shop/verbs: no ingress rule fits\n")
    lines = proa("policy", "explain", name_of("shopdb")).lines
    assert "stack: shop" in lines and any("only-web: allow from" in x for x in lines)
    assert proa("policy", "rm", "verbs").out == "verbs\n"
    refuse("policy", "rm", "verbs", rc=1, say="no policy verbs")
    refuse("policy", "inspect", "verbs", rc=1, say="no policy")
    refuse("policy", "apply", "-", rc=1, say="line 6: spec has no member", input=text.replace("podSelector", "podSelectr", 1))
    refuse("policy", "apply", "/nowhere", rc=1, say="/nowhere")
    refuse("policy", "apply", "-", rc=1, say="no policy", input="")
    refuse("policy", "test", name_of("web"), "nobody-such", "80", rc=125, say="nobody-such")
    refuse("policy", "test", name_of("web"), name_of("db"), "80/x", rc=125, say="80/x")
    refuse("policy", "test", "host", "world", "80", rc=125, say="instance")


def test_all_documents_or_none(town):
    good = json.dumps(network("good", {"podSelector": ALL}))
    refuse("policy", "apply", "-", rc=1, say="kind", input=good + "\n---\nkind: Pod\n")
    assert proa("policy", "ls", "-q").out == ""


def test_a_killed_change_is_whole_again(town):
    """Killed at many moments; then the packets follow what the store says."""
    r = random.Random(7)
    for turn in range(10):
        document = network("k", {"podSelector": ALL, "ingress": [{"ports": ports(r.choice(PORTS))}]})
        p = subprocess.Popen([os.path.join(os.environ["PROA_BUILD"], "proa"), "policy", "apply", "-"],
                             stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        p.stdin.write(json.dumps(document).encode())
        p.stdin.close()
        try:
            p.wait(timeout=r.random() * 0.03)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
        stored = proa("policy", "inspect", "k", check=False)
        documents = stored.json if stored.rc == 0 else []
        parties, peers = town
        asked = [q for q in questions(parties) if q[0] in ("web", "db") and q[1] in ("web", "db", "plain", "host")]
        model = {q: policy_model.allowed(documents, parties[q[0]], parties[q[1]], q[2], q[3]) for q in asked}
        assert real(parties, peers, asked, False) == model, turn


def test_the_table_comes_back(town):
    """Somebody flushed the rules: the next start puts all of them up again."""
    parties, peers = town
    documents = [network("x", {"podSelector": app("db"), "ingress": [{"ports": ports(81)}]})]
    apply(*documents)
    subprocess.run(["nft", "delete", "table", "inet", "proa-policy"], check=True)
    proa("run", "--rm", "busybox", "true")
    compare(town, documents)


def table(name="inet proa-policy"):
    """Its lines but those about what was seen, chain by chain."""
    text = subprocess.run(["nft", "list", "table", *name.split()], capture_output=True, text=True, check=True).stdout
    parts = [p.strip() for p in re.sub(r"\bct mark (set )?0x50[0-9a-f]{6}\b", r"ct mark \1N", text).split("\n\n")]
    return sorted(re.sub(r"elements = {([^}]*)}", lambda m: str(sorted(m[1].replace("\n", " ").split(","))), p)
                  for p in (re.sub(r"\s*,\s*", ",", p) for p in parts) if not re.match(rf"(table[^\n]*\n)?\s*set ({SEEN})", p))


def test_a_change_needs_no_program(town, name):
    """Changes do without nft, and leave what the whole is when it is made anew."""
    parties, _ = town
    program = shutil.which("nft")
    subprocess.run(["mount", "--bind", "/bin/false", program], check=True)
    try:
        for port in (80, 81):
            apply(network("x", {"podSelector": app("db"), "policyTypes": ["Ingress", "Egress"], "ingress": [
                      {"name": "named", "log": True, "from": [{"podSelector": app("web")}], "ports": [
                          *ports(port), {"port": 90, "endPort": 99}, {"protocol": "UDP"}, *ports(1, protocol="SCTP")]}],
                      "egress": [{}, {"to": [{"nodes": {}}], "ports": ports(9100)}]}),
                  network("y", {"podSelector": app("web"), "policyTypes": ["Egress"], "egress": [
                      {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [OUTSIDE + "/32"]}},
                              {"ipBlock": {"cidr": "240.0.0.0/4"}}, {"ipBlock": {"cidr": "10.1.0.0/16"}},
                              {"ipBlock": {"cidr": "2001:db8::/32"}}, {"ipBlock": {"cidr": "ff00::/8"}},
                              {"domainNames": ["example.com", "*.example.org"]}], "ports": ports(port)}]}),
                  admin("a", port, {"ingress": [
                      {"name": "no", "action": "Deny", "log": True, "from": [{"namespaces": stack("edge")}]},
                      {"action": "Pass", "from": [{"networks": ["198.51.100.7/32", "::/0"]}]}]}))
        proa("run", "-d", "--name", name, "-l", "io.proa.stack=other-" + name, "busybox", "sleep", "1000")
        proa("rm", "-f", name)
    finally:
        subprocess.run(["umount", program], check=True)
    changed = table()
    subprocess.run(["nft", "delete", "table", "inet", "proa-policy"], check=True)
    proa("run", "--rm", "busybox", "true")
    assert table() == changed
    assert "proto-src 90-99" in "".join(changed) and 'limit rate 10/second' in "".join(changed)


def test_ipv6(house, name):
    """The same rules for the other family."""
    net, names = name + "6", [name + "a", name + "b", name + "c"]
    proa("network", "create", "--ipv6", net)
    peers = []
    try:
        addresses = []
        for n, stack_ in zip(names, ("one", "one", "two")):
            proa("run", "-d", "--name", n, "--network", net, "-l", "app=" + n, "-l", "io.proa.stack=" + stack_, "busybox", "sleep", "1000")
            seen = inspect(n)
            addresses.append(seen["NetworkSettings"]["Networks"][net]["GlobalIPv6Address"])
            peers.append(Peer(PORTS, "nsenter", f"--net=/proc/{seen['State']['Pid']}/ns/net"))

        def answers(target, *numbers):
            peers[0].ask([[protocol, addresses[target], port] for port in numbers for protocol in ("tcp", "udp")])
            return peers[0].answers()
        assert answers(1, 80, 443) == [True] * 4 and answers(2, 80, 443) == [False] * 4
        apply(network("six", {"podSelector": app(names[1]), "ingress": [{"ports": ports(80)}]}, "one"),
              network("six", {"podSelector": app(names[2]), "ingress": [
                  {"from": [{"ipBlock": {"cidr": addresses[0] + "/128"}}], "ports": ports(443, protocol="UDP")}]}, "two"))
        assert answers(1, 80, 443) == [True, False, False, False]
        assert answers(2, 80, 443) == [False, False, False, True]
        seen = [f for f in proa("flows", "--from", names[0], "--format", "{{.Verdict}} {{.To}} {{.Port}}").lines]
        assert f"denied {names[2]} 80/tcp" in seen and f"allowed {names[2]} 443/udp" in seen
    finally:
        for p in peers:
            p.end()
        proa("rm", "-f", *names, check=False)
        proa("network", "rm", net)


def test_the_example_of_the_manual_is_taken(house):
    with open(os.path.join(os.path.dirname(__file__), "../../docs/POLICIES.md")) as f:
        example = f.read().split("```yaml\n")[1].split("```")[0]
    assert proa("policy", "apply", "--dry-run", "-", input=example).out == ""


def test_a_rule_that_logs(town):
    """Its first packet goes to the kernel's log, which is the machine's: here only the rule is looked at."""
    apply(network("x", {"podSelector": app("db"), "ingress": [{"name": "named", "log": True, "ports": ports(80)}]}))
    rules = subprocess.run(["nft", "list", "table", "inet", "proa-policy"], capture_output=True, text=True, check=True).stdout
    assert 'ct state == new log prefix "proa default/x named allow "' in rules
