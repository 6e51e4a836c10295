"""Policies, published ports and forged frames where containers, light machines and machines of disk images meet on one
network with both families: packets, `policy test` and the test's own model must agree, as in test_policy.py.

Each of them has peer.c in it (`proa cp`, `proa exec -i`), so packets come from where a workload's come from. All tests share
one boot of each machine.
"""

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
from types import SimpleNamespace

import pytest

import policy_model
from cli import BUILD, PROA, environment, inspect, proa, until
from policy_documents import admin, app, apply, network, ports, remove_all, stack
from policy_peer import PEER, Peer, agree, packets, refusals_at_once, told
from sandbox import INSIDE, OUTSIDE, TOP, outside, run
from test_crash import pids_of
from test_flows import WATCH
from test_network_frames import MAGIC, checksum, forged

sys.path.insert(0, os.path.join(TOP, "tests/machine"))
import disk  # noqa: E402

pytestmark = pytest.mark.vm
SENDER = os.path.join(BUILD, "tests/integration/sender")
NET, IMAGE, PORTS = "kinds", "kinds-disk:1", [80, 443]
QUESTIONS = [(protocol, port, family) for protocol in ("tcp", "udp") for port in PORTS for family in (4, 6)]
OUT = {4: OUTSIDE, 6: "2001:db8:77::2"}
IN = {4: INSIDE, 6: "2001:db8:77::1"}
GATEWAY = {4: "10.77.40.1", 6: "fd77:40::1"}
METADATA = {4: "169.254.169.254", 6: "fd00:ec2::254"}
MACHINES = ["light", "disk"]
KINDS = ["box", *MACHINES]

# name: stack, how it is run, published ports. The label "app" is the name.
PEOPLE = {
    "disk": ("shop", ["-m", "128m", "--disk-size", "64m"], {("tcp", 80): 18540, ("udp", 443): 18541}),
    "light": ("default", ["--vm", "--cap-add", "NET_RAW"], {("tcp", 80): 18530, ("udp", 443): 18531}),
    "box": ("default", [], {("tcp", 80): 18510, ("udp", 443): 18511}),
    "pod": ("shop", [], {}),
}
ADDRESS = {name: {4: f"10.77.40.{i}", 6: f"fd77:40::{i}"} for i, name in enumerate(PEOPLE, 11)}


def name_of(person):
    return "kinds-" + person


def start(person):
    stack_, flags, published = PEOPLE[person]
    labels = ["-l", "app=" + person, *(["-l", "io.proa.stack=" + stack_] if stack_ != "default" else [])]
    publish = [f for (protocol, port), out in published.items() for f in ("-p", f"{out}:{port}/{protocol}")]
    image = [IMAGE] if person == "disk" else ["busybox", "sleep", "100000"]
    where = f"{NET}:ip={ADDRESS[person][4]},ip6={ADDRESS[person][6]}"
    proa("run", "-d", "--name", name_of(person), "--network", where, *labels, *publish, *flags, *image, timeout=120)


def configure_disk():
    """Nobody is told its addresses in there: the small disk's system has no DHCP client. A router's advertisement would bring
    the route that is set here."""
    until(lambda: proa("exec", name_of("disk"), "true", check=False).rc == 0, timeout=240, every=0.2)
    proa("exec", name_of("disk"), "sh", "-ec", "cd /proc/sys/net/ipv6/conf/eth0; echo 0 >accept_dad; echo 0 >accept_ra; ip link set eth0 up; "
         f"ip addr add {ADDRESS['disk'][4]}/24 dev eth0; ip -6 addr add {ADDRESS['disk'][6]}/64 dev eth0; "
         f"ip route add default via {GATEWAY[4]}; ip -6 route add default via {GATEWAY[6]}", timeout=60)


def enter_world():
    """The world has IPv6, too, and answers at what may be asked for keys."""
    run("ip", "addr", "add", IN[6] + "/64", "dev", "up0", "nodad")
    outside("ip", "addr", "add", OUT[6] + "/64", "dev", "eth0", "nodad")
    outside("ip", "addr", "add", METADATA[4] + "/32", "dev", "lo")
    outside("ip", "addr", "add", METADATA[6] + "/128", "dev", "lo")
    run("ip", "-6", "route", "add", METADATA[6], "via", OUT[6])


def leave_world():
    run("ip", "-6", "route", "del", METADATA[6], "via", OUT[6])
    run("ip", "addr", "del", IN[6] + "/64", "dev", "up0")
    for address, link in ((OUT[6] + "/64", "eth0"), (METADATA[4] + "/32", "lo"), (METADATA[6] + "/128", "lo")):
        outside("ip", "addr", "del", address, "dev", link)


def bring(person):
    for program in (PEER, SENDER):
        proa("cp", program, f"{name_of(person)}:/{os.path.basename(program)}", timeout=60)
    return Peer(PORTS, PROA, "exec", "-i", name_of(person), program="/peer")


def send_frames_from(person):
    """Each line that it is given is a frame."""
    return subprocess.Popen([PROA, "exec", "-i", name_of(person), "/sender", "frames", "eth0"], stdin=subprocess.PIPE, text=True,
                            env=environment())


@pytest.fixture(scope="module")
def village(house):
    enter_world()
    proa("network", "create", "--subnet", "10.77.40.0/24", "--subnet", "fd77:40::/64", NET)
    proa("import", disk.path_of("agent"), IMAGE, timeout=120)
    for person in PEOPLE:
        start(person)
    configure_disk()
    peers = {person: bring(person) for person in PEOPLE}
    peers["world"] = Peer(PORTS, "nsenter", "--net=/run/netns/outside")
    peers["host"] = Peer(PORTS)
    senders = {person: send_frames_from(person) for person in MACHINES}
    with refusals_at_once():
        yield SimpleNamespace(peers=peers, senders=senders)
    for s in senders.values():
        s.stdin.close()
        s.wait(timeout=20)
    for p in peers.values():
        p.end()
    proa("rm", "-f", *map(name_of, PEOPLE), timeout=120)
    proa("rmi", "-f", IMAGE)
    proa("network", "rm", NET)
    leave_world()


@pytest.fixture(autouse=True)
def nothing_stays(village):
    yield
    remove_all()


# --- three answers to each question ---

def party(who, family):
    if who in PEOPLE:
        stack_, _, published = PEOPLE[who]
        return {"kind": "instance", "stack": stack_, "labels": {"app": who, "io.proa.name": name_of(who)}, "network": NET,
                "address": ADDRESS[who][family], "deny": False, "published": published}
    if who == "host":
        return {"kind": "host"}
    return {"kind": "world", "address": (METADATA if who == "metadata" else OUT)[family]}


def questions():
    """(who asks, whom, protocol, port, family)"""
    for source in [*PEOPLE, "world", "host"]:
        for target in [*PEOPLE, "world", "host", "metadata"]:
            if source != target and (source in PEOPLE or target in PEOPLE):
                for q in QUESTIONS:
                    yield source, target, *q


def where(q):
    """[protocol, address, port] that its packets really go to, or None where there is no such way."""
    source, target, protocol, port, family = q
    if target == "host":  # by two of its addresses
        return [protocol, (IN if protocol == "tcp" else GATEWAY)[family], port]
    if source == "world":
        published = PEOPLE[target][2].get((protocol, port))
        return [protocol, IN[family], published] if published else None
    return [protocol, party(target, family)["address"], port]


def words(q):
    source, target, protocol, port, family = q
    return " ".join([*("host" if who == "host" else party(who, family)["address"] for who in (source, target)), f"{port}/{protocol}"])


def modelled(documents):
    return {q: policy_model.allowed(documents, party(q[0], q[4]), party(q[1], q[4]), q[2], q[3]) for q in questions()}


def seen(peers, asked):
    places = {q: where(q) for q in asked}
    found = packets(peers, {q: (q[0], place) for q, place in places.items() if place})
    return {q: found.get(q, False) for q in asked}


def block(cidr, *holes):
    return {"ipBlock": {"cidr": cidr, **({"except": list(holes)} if holes else {})}}


def out(peers, stack_="default", **more):
    return network("out", {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": peers, **more}]}, stack_)


EVERY_STACK = {"namespaceSelector": {}}
SCENARIOS = {
    "nothing": [],
    "by label": [
        network("disk", {"podSelector": app("disk"), "ingress": [
            {"name": "from-light", "from": [{**EVERY_STACK, "podSelector": app("light")}], "ports": ports(80)},
            {"from": [{"namespaceSelector": stack("default"), "podSelector": app("box")}], "ports": ports(443, protocol="UDP")}]}, "shop"),
        network("light", {"podSelector": app("light"), "ingress": [
            {"name": "from-shop", "from": [{"namespaceSelector": stack("shop")}], "ports": [*ports(443), *ports(80, protocol="UDP")]}]})],
    "administrators deny": [
        admin("no", 5, {"ingress": [{"action": "Deny", "from": [{"namespaces": {}}], "ports": [
            {"portNumber": {"protocol": "TCP", "port": 80}}]}, {"action": "Allow", "from": [{"namespaces": {}}]}]}),
        admin("no-more", 6, {"egress": [{"action": "Deny", "to": [{"pods": {"podSelector": app("disk")}}], "ports": [
            {"portNumber": {"protocol": "UDP", "port": 443}}]}]}, {"pods": {"podSelector": app("light")}})],
    "out by blocks": [
        out([block("198.51.100.0/24"), block("fd77:40::/64", ADDRESS["light"][6] + "/128")], ports=ports(80)),
        out([block("0.0.0.0/0", "198.51.100.0/25"), block("2001:db8::/32")], "shop")],
    "in from the blocks of instances": [
        network("light", {"podSelector": app("light"), "ingress": [{"from": [block(ADDRESS["disk"][6] + "/128")]}]}),
        network("disk", {"podSelector": app("disk"), "ingress": [{"from": [block(ADDRESS["box"][4] + "/32"), block("fd77:40::10/124")],
                                                                  "ports": ports(443)}]}, "shop")],
    "the host and metadata": [
        out([{"nodes": {}}, block(METADATA[4] + "/32")], ports=[*ports(80), *ports(443, protocol="UDP")]),
        out([block(METADATA[6] + "/128"), block("169.0.0.0/8")], "shop")],
    "published ports": [
        network("in", {"podSelector": {}, "ingress": [{"from": [block("198.51.100.0/24")], "ports": ports(80)}]}),
        network("in", {"podSelector": {}, "ingress": [{"from": [block("2001:db8:77::/48"), {"podSelector": {}}]}]}, "shop")],
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_three_answers_agree(village, scenario):
    documents = SCENARIOS[scenario]
    model = modelled(documents)
    assert {True, False} == set(model.values()) and (not documents or model != modelled([])), "it tells something apart"
    if documents:
        apply(*documents)
    agree(model, told(model, words), seen(village.peers, model))


def test_flows_show_machines(village):
    """By name, with the rule, whichever kind is at the other end."""
    apply(*SCENARIOS["by label"])
    asked = [(source, target, protocol, port, family) for source, target, protocol, port in
             (("light", "disk", "tcp", 80), ("box", "disk", "tcp", 80), ("disk", "light", "tcp", 443), ("disk", "box", "udp", 80),
              ("light", "host", "tcp", 443), ("disk", "metadata", "tcp", 80), ("world", "disk", "tcp", 80)) for family in (4, 6)]
    model = {q: a for q, a in modelled(SCENARIOS["by label"]).items() if q in asked}
    assert seen(village.peers, asked) == model
    rows = [json.loads(x) for x in proa("flows", "--since", "1m", "--format", "json", "--no-trunc").lines]
    told_ = {(r["Verdict"], r["From"], r["To"], r["Target"], r["Port"]): r["Rule"] for r in rows}
    disk_, light = "NetworkPolicy shop/disk: ", "NetworkPolicy default/light: "
    rules = {("light", "disk"): disk_ + "from-light", ("box", "disk"): disk_ + "no ingress rule fits", ("disk", "light"): light + "from-shop",
             ("disk", "box"): "default: ", ("light", "host"): "default: the host is not reached", ("disk", "metadata"): "default: ",
             ("world", "disk"): disk_ + "no ingress rule fits"}
    for q, allowed in model.items():
        source, target, protocol, port, family = q
        shown = [name_of(w) if w in PEOPLE else "host" if w == "host" else party(w, family)["address"] for w in (source, target)]
        address = where(q)[1] if target == "host" else party(target, family)["address"]
        row = ("allowed" if allowed else "denied", *shown, address, f"{port}/{protocol}")
        assert told_.get(row, "").startswith(rules[source, target]) and row in told_, (row, told_)


def test_flows_tell_the_families_apart(village):
    """A rule that names an address is no reason for what was seen of the other family."""
    apply(*SCENARIOS["in from the blocks of instances"])
    assert list(seen(village.peers, [("disk", "light", "tcp", 80, family) for family in (4, 6)]).values()) == [False, True]
    rows = [json.loads(x) for x in proa("flows", "--from", name_of("disk"), "--to", name_of("light"), "--format", "json", "--no-trunc").lines]
    rules = {(r["Verdict"], r["Target"], r["Port"]): r["Rule"] for r in rows}
    assert rules["denied", ADDRESS["light"][4], "80/tcp"] == "NetworkPolicy default/light: no ingress rule fits"
    assert rules["allowed", ADDRESS["light"][6], "80/tcp"] == "NetworkPolicy default/light: ingress[0]"


# --- connections that run ---

def open_to_all():
    """Any stack reaches them, and the world by their published ports."""
    everybody = [{"from": [EVERY_STACK]}, {"from": [block("0.0.0.0/0"), block("::/0")]}]
    apply(*(network(person, {"podSelector": app(person), "ingress": everybody}, PEOPLE[person][0]) for person in KINDS))


HELD = {person: [(target, family) for target in KINDS if target != person for family in (4, 6)] for person in KINDS}
HELD["world"] = [(target, family) for target in KINDS for family in (4, 6)]


@pytest.fixture
def held(village):
    """A connection from each kind to each other, and from the world to each published port, by either family."""
    open_to_all()
    for source, list_ in HELD.items():
        for target, family in list_:
            _, address, port = where((source, target, "tcp", 80, family))
            assert village.peers[source].hold(address, port) == "echo", (source, target, family)
    yield village.peers
    for source in HELD:
        village.peers[source].drop()


def used(peers):
    """{(source, target, family): what has become of that connection}."""
    return {(source, target, family): word for source, list_ in HELD.items()
            for (target, family), word in zip(list_, peers[source].use())}


def test_running_connections_that_are_forbidden_end(held):
    """Those to machines by a rule for what comes in, those from machines by one for what goes out; no other."""
    world = [{"from": [block("198.51.100.0/24"), block("2001:db8:77::/48")]}]
    apply(*(network(m, {"podSelector": app(m), "ingress": world}, PEOPLE[m][0]) for m in MACHINES))
    after_in = {way: "ended" if way[0] != "world" and way[1] in MACHINES else "echo" for way in used(held)}
    assert used(held) == after_in
    apply(*(network(m + "-out", {"podSelector": app(m), "policyTypes": ["Egress"], "egress": [{"ports": ports(1)}]}, PEOPLE[m][0])
            for m in MACHINES))
    assert used(held) == {way: "ended" if way[0] in MACHINES else word for way, word in after_in.items()}


HELPERS = ["dnsmasq", "proa-lease", "proa-names", "proa-template"]


def helpers():
    return {program: set(pids_of(program)) for program in HELPERS}


@pytest.mark.leaky  # what was killed is another process afterwards
def test_running_connections_outlive_all_helpers(held):
    """Name servers, what answers DHCP, what learns names and what keeps templates are killed: nobody's packets pass through
    them, and the next command has those again that somebody needs."""
    apply(network("names", {"podSelector": app("box"), "policyTypes": ["Egress"], "egress": [
        {"to": [EVERY_STACK]}, {"to": [{"domainNames": ["www.example.com"]}]}]}))
    before = helpers()
    assert before["dnsmasq"] and before["proa-lease"] and before["proa-names"]
    for pid in set.union(*before.values()):
        with contextlib.suppress(ProcessLookupError):  # with one of an instance's two proa-names the other ends
            os.kill(pid, 9)
    until(lambda: not any(helpers().values()))
    assert set(used(held).values()) == {"echo"}
    for net in (NET, "proa"):
        proa("run", "--rm", "--network", net, "busybox", "true")
    now = helpers()
    assert all(now[program] for program in HELPERS[:3]), now
    assert set(used(held).values()) == {"echo"}
    assert ADDRESS["light"][4] in proa("exec", name_of("box"), "nslookup", name_of("light")).out
    assert ADDRESS["disk"][6] in proa("exec", name_of("light"), "nslookup", name_of("disk")).out


# --- what a machine says that it is ---

def ip4(source, target, payload):
    h = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 7, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(target))
    return h[:10] + struct.pack("!H", checksum(h)) + h[12:] + payload


def ip6(source, target, kind, payload):
    """With the checksum that ICMPv6 and UDP want, two bytes of zero at its place."""
    addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
    at = 2 if kind == 58 else 6
    sum_ = checksum(addresses + struct.pack("!II", len(payload), kind) + payload + b"\0" * (len(payload) % 2))
    return struct.pack("!IHBB", 0x60000000, len(payload), kind, 255) + addresses + payload[:at] + struct.pack("!H", sum_) + payload[at + 2:]


def udp(source_port, target_port):
    return struct.pack("!HHHH", source_port, target_port, 8 + len(MAGIC), 0) + MAGIC


def link_local(mac):
    return socket.inet_ntop(socket.AF_INET6, bytes.fromhex("fe80000000000000") + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:])


def forge(case, person, mac, victim_mac):
    """A frame that is not this machine's to send."""
    own, victim, other, everybody = ADDRESS[person], ADDRESS["box"], b"\x02\0\0\0\x66\x66", b"\xff" * 6
    router = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + MAGIC
    answer = struct.pack("!BBHI16s", 136, 0, 0, 0x60000000, socket.inet_pton(socket.AF_INET6, GATEWAY[6])) + b"\2\1" + mac + MAGIC
    arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 2, mac, socket.inet_aton(GATEWAY[4]), victim_mac, socket.inet_aton(victim[4])) + MAGIC
    target, source, kind, payload = {
        "another hardware address": (victim_mac, other, 0x800, ip4(own[4], victim[4], udp(4000, 80))),
        "another IPv4 address": (victim_mac, mac, 0x800, ip4("10.77.40.99", victim[4], udp(4000, 80))),
        "another IPv6 address": (victim_mac, mac, 0x86dd, ip6("fd77:40::99", victim[6], 17, udp(4000, 80))),
        "ARP for the gateway": (everybody, mac, 0x806, arp),
        "a neighbour's advertisement for the gateway": (victim_mac, mac, 0x86dd, ip6(link_local(mac), victim[6], 58, answer)),
        "a router's advertisement": (b"\x33\x33\0\0\0\1", mac, 0x86dd, ip6(link_local(mac), "ff02::1", 58, router)),
        "an answer of a DHCP server": (everybody, mac, 0x800, ip4(own[4], "255.255.255.255", udp(67, 68))),
        "an answer of a DHCPv6 server": (b"\x33\x33\0\0\0\1", mac, 0x86dd, ip6(link_local(mac), "ff02::1", 17, udp(547, 546))),
    }[case]
    return target + source + struct.pack("!H", kind) + payload


FORGERIES = ["another hardware address", "another IPv4 address", "another IPv6 address", "ARP for the gateway",
             "a neighbour's advertisement for the gateway", "a router's advertisement", "an answer of a DHCP server",
             "an answer of a DHCPv6 server"]


@pytest.mark.parametrize("person", MACHINES)
def test_forged_frames(village, person):
    """Nobody hears them, each is seen in `flows`, and what is honest goes on."""
    mac, victim_mac = (bytes.fromhex(inspect(name_of(w))["NetworkSettings"]["Networks"][NET]["MacAddress"].replace(":", ""))
                       for w in (person, "box"))
    open_to_all()
    pid = inspect(name_of("box"))["State"]["Pid"]
    with subprocess.Popen(["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", WATCH], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout.readline() == "up\n"
        for case in FORGERIES:
            before = forged(name_of(person))
            village.senders[person].stdin.write((forge(case, person, mac, victim_mac).hex() + "\n") * 2)
            village.senders[person].stdin.flush()
            until(lambda: forged(name_of(person)) > before, message=case)
        honest = seen(village.peers, [(person, "box", "tcp", 80, 4), (person, "box", "udp", 80, 6)])
        assert watch.communicate(input="")[0] == ""
    assert set(honest.values()) == {True}
