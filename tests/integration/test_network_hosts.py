"""A network that spans two hosts: namespaces with a wire between them, each with a store of its own."""

import json
import os
import signal
import subprocess
import sys

import pytest

from cli import PROA, ended, proa, refuse, until
from policy_documents import app, apply, network, ports, remove_all
from policy_peer import PEER
from policy_peer import Peer as End
from sandbox import INSIDE, OUTSIDE
from span_hosts import addresses, explained, inside, second_host, spanning


@pytest.fixture
def hosts(name, busybox_layer, tmp_path):
    """Two hosts' proa: this one, and one in the namespace of the other end of the wire."""
    with second_host(tmp_path / "other", busybox_layer) as there, spanning(there, name, 42) as made:
        try:
            for run in made:
                run("run", "-d", "--name", name, "--network", name, "busybox", "sleep", "1000")
            yield made
        finally:
            for run in made:
                run("rm", "-f", name, check=False)


def address(run, name, network=None):
    return json.loads(run("inspect", name).out)[0]["NetworkSettings"]["Networks"][network or name]["IPAddress"]


def ping(run, name, where):
    return run("exec", name, "ping", "-c", "1", "-W", "2", where, check=False).rc == 0


def allowed(run, *question):
    return run("policy", "test", *question, check=False).out.startswith("allow")


def told(run, name, network, *families):
    """The addresses that an instance's name server has for a name; those of IPv4, unless others are asked for."""
    out = run("exec", network, "nslookup", name, check=False).out
    found = [line.split()[1] for line in out.splitlines()[2:] if line.startswith("Address:")]
    return sorted(a for a in found if (6 if ":" in a else 4) in (families or (4,)))


def keepers(network):
    """Pids of proa-peers of all hosts: of the keepers, by the root that they serve."""
    found = {}
    for pid in sorted(map(int, filter(str.isdigit, os.listdir("/proc")))):  # what a keeper has just forked comes behind it
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if words[0].startswith(b"peers:") and words[2] == network.encode():
            found.setdefault(words[1].decode(), pid)
    return found


def relay_of(keeper):
    with open(f"/proc/{keeper}/task/{keeper}/children") as f:
        return int(f.read().split()[0])


def test_two_hosts_share_a_network(name, hosts):
    here, there = hosts
    a, b = address(here, name), address(there, name)
    assert (a, b) == ("10.77.20.2", "10.77.20.130")
    until(lambda: ping(here, name, b))
    assert ping(there, name, a)
    # What is too big for the wire is known inside: the link is smaller.
    assert here("exec", name, "cat", "/sys/class/net/eth0/mtu").out == "1450\n"
    assert here("exec", name, "ping", "-c", "1", "-W", "2", "-s", "1400", b, check=False).rc == 0
    # Each host's instances go out by their own host.
    assert "via 10.77.20.1 " in here("exec", name, "ip", "route").out and "via 10.77.20.129 " in there("exec", name, "ip", "route").out
    # A port still says only what is its own, to the other host, too.
    there("exec", name, "true")
    here("run", "-d", "--name", name + "s", "--cap-add", "NET_ADMIN", "--network", name, "busybox", "sleep", "1000")
    here("exec", name + "s", "ip", "addr", "add", "10.77.20.99/24", "dev", "eth0")
    assert not ping(there, name, "10.77.20.99")
    here("rm", "-f", name + "s")


def test_ipv6_over_two_hosts(name, hosts):
    """Each host has a gateway of its own, and what is said of IPv4 is so of IPv6."""
    here, there = hosts
    (a4, a6), (b4, b6) = addresses(here, name, name), addresses(there, name, name)
    assert (a6, b6) == ("fd77:20::2", "fd77:20::82")
    until(lambda: explained(here, b6) and explained(there, a6))
    for run, gateway in ((here, "fd77:20::1"), (there, "fd77:20::81")):
        assert f"via {gateway} " in run("exec", name, "ip", "-6", "route").out
        assert ping(run, name, gateway)
    # Neither host's gateway is another one's, too: what the other answers for has its own hardware address.
    macs = {}
    for run, who in ((here, "here"), (there, "there")):
        out = subprocess.run([*inside(run, name), "ip", "-6", "neigh"], capture_output=True, text=True, check=True).stdout
        macs[who] = {line.split()[0]: line.split()[4] for line in out.splitlines() if " lladdr " in line}
    assert macs["here"]["fd77:20::1"] != macs["there"]["fd77:20::81"]
    assert ping(here, name, b6) and ping(there, name, a6)
    there("run", "-d", "--name", name + "x", "--network", name, "--ip", "10.77.20.200", "--ip6", "fd77:20::c8", "busybox", "sleep", "1000")
    try:
        until(lambda: told(here, name + "x", name, 4, 6) == ["10.77.20.200", "fd77:20::c8"])
        ends = [End([7000], *inside(run, name)) for run in hosts]
        try:
            for end, to in zip(ends, (b6, a6)):
                end.ask([["tcp", to, 7000], ["udp", to, 7000], ["tcp", b4 if to == b6 else a4, 7000]])
                assert end.answers() == [True] * 3
        finally:
            for end in ends:
                end.end()
    finally:
        there("rm", "-f", name + "x")
    # What the other host gives out is not given out here.
    for flags, say in ((["--ip", "10.77.20.200"], "10.77.20.0/25"), (["--ip6", "fd77:20::c9"], "fd77:20:: to fd77:20::7f")):
        refuse("run", "--rm", "--network", name, *flags, "busybox", "true", say=[say, "another host's"])


@pytest.mark.vm
def test_a_machine_on_either_side(name, hosts):
    """A machine here and a container there: by name and by both families, and its policies on both hosts."""
    here, there = hosts
    machine = name + "m"
    asks = End([7000], *inside(there, name))
    answers_there = None
    try:
        here("run", "-d", "--vm", "--name", machine, "--network", name, "-l", "app=db", "busybox", "sleep", "1000", timeout=120)
        here("cp", PEER, f"{machine}:/peer", timeout=60)
        answers_there = End([7000, 7001], PROA, "exec", "-i", machine, program="/peer")
        four, six = addresses(here, machine, name)
        until(lambda: told(there, machine, name, 4, 6) == [four, six])

        def answers():
            asks.ask([[protocol, to, port] for to in (four, six) for port in (7000, 7001) for protocol in ("tcp", "udp")])
            return asks.answers()
        assert answers() == [True] * 8
        assert ping(here, machine, addresses(there, name, name)[0]) and ping(here, machine, addresses(there, name, name)[1])
        rule = network("db", {"podSelector": app("db"), "ingress": [{"ports": ports(7000)}]})
        apply(rule, run=here)
        assert answers() == [True, False, False, False] * 2
        remove_all(here)
        apply(network("out", {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": app("db")}],
                                                                                       "ports": ports(7001)}]}), run=there)
        assert answers() == [False, False, True, False] * 2
    finally:
        for end in filter(None, (asks, answers_there)):
            end.end()
        for run in hosts:
            remove_all(run)
        here("rm", "-f", machine, check=False)


def test_a_connection_outlives_the_exchange(name, hosts):
    """proa-peers of both hosts is killed and begins again: what runs between instances goes on."""
    here, there = hosts
    a, b = addresses(here, name, name), addresses(there, name, name)
    until(lambda: explained(here, b[0]) and explained(there, a[0]))
    ends = [End([7000], *inside(run, name)) for run in hosts]
    try:
        for address in b:
            assert ends[0].hold(address, 7000) == "echo"
        for victim in ("keeper", "relay"):
            before = keepers(name)
            for pid in before.values():
                os.kill(pid if victim == "keeper" else relay_of(pid), signal.SIGKILL)
                until(lambda pid=pid: ended(pid))
            assert ends[0].use() == ["echo", "echo"]
            for run in hosts:
                run("ps")
            there("rename", name, name + "-" + victim)  # what is new is heard again
            until(lambda: told(here, f"{name}-{victim}", name) == [b[0]])
            there("rename", name + "-" + victim, name)
            assert not set(keepers(name).values()) & set(before.values()) and len(keepers(name)) == 2
            assert ends[0].use() == ["echo", "echo"]
    finally:
        for end in ends:
            end.end()


def test_nobody_but_the_peers_speaks_in_the_tunnel(name, hosts):
    """A frame in a VXLAN packet from an address that is no peer's is dropped before it is opened."""
    here, there = hosts
    a = address(here, name)
    pid = json.loads(here("inspect", name).out)[0]["State"]["Pid"]
    frame = ("import socket, struct\n"
             "frame = bytes.fromhex('ffffffffffff0251000000ee0806000108000604000102510a0a0a0a') + socket.inet_aton('10.77.20.200') + bytes(6) + socket.inet_aton('%s')\n"
             "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('%s', 0))\n"
             "[s.sendto(struct.pack('!II', 0x08000000, 42 << 8) + frame, ('%s', 4789)) for _ in range(3)]\n")
    ns = ["nsenter", "--net=/run/netns/outside"]
    wire = subprocess.run([*ns, "ip", "-o", "-4", "addr"], capture_output=True, text=True, check=True).stdout
    link = next(line.split()[1] for line in wire.splitlines() if OUTSIDE in line)
    other = OUTSIDE.rsplit(".", 1)[0] + ".77"
    subprocess.run([*ns, "ip", "addr", "add", f"{other}/24", "dev", link], check=True)

    def neighbours():
        return subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "neigh"], capture_output=True, text=True, check=True).stdout
    try:
        subprocess.run([*ns, "python3", "-c", frame % (a, other, INSIDE)], check=True)
        assert "10.77.20.200" not in neighbours()
        subprocess.run([*ns, "python3", "-c", frame % (a, OUTSIDE, INSIDE)], check=True)  # the same, from the peer
        until(lambda: "10.77.20.200" in neighbours())
        # An instance, which has its host's address before it when it arrives, is no peer.
        reached = "import socket; socket.create_connection(('%s', 20042), timeout=1.5)" % INSIDE
        assert subprocess.run([*ns, "python3", "-c", reached]).returncode == 0
        asks = [*inside(there, name), "python3", "-c", reached]
        assert b"timed out" in subprocess.run(asks, capture_output=True).stderr
    finally:
        subprocess.run([*ns, "ip", "addr", "del", f"{other}/24", "dev", link], check=True)


POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: %s}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]
"""


def test_the_same_policy_on_both_hosts(name, hosts, tmp_path):
    """Names, labels and stacks of the other host's instances are known here, as long as it says so."""
    here, there = hosts
    web, db, far = name + "web", name + "db", name + "far"
    a, b = address(here, name), address(there, name)
    for run, which, label in ((there, web, "app=web"), (here, db, "app=db"), (there, far, "io.proa.stack=far")):
        run("run", "-d", "--name", which, "--network", name, "--network-alias", "all", "-l", label, "busybox", "sleep", "1000")
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY % name)
    try:
        # A name is said on both sides; of a name that an instance here has, the other's does not count.
        until(lambda: told(here, web, name) == [address(there, web, name)] and told(there, db, name) == [address(here, db, name)])
        all_of_them = sorted([address(there, web, name), address(there, far, name), address(here, db, name)])
        until(lambda: told(here, "all", name) == all_of_them)
        assert told(here, name, name) == [a] and told(there, name, name) == [b]
        assert "app=web" in explained(here, web) and OUTSIDE in explained(here, web)
        heard = json.loads(here("network", "inspect", name).out)[0]["Peers"]
        assert [(p["Name"], p["IPv4Address"]) for p in heard[OUTSIDE]][0] == (name, b + "/24") and len(heard[OUTSIDE]) == 3
        # The stack's default, both ways.
        assert ping(there, web, a) and ping(here, name, web)
        assert not ping(there, far, a) and not ping(here, name, far)
        assert not allowed(here, far, name, "80") and not allowed(here, name, far, "80") and allowed(here, web, name, "80")
        # A label's: the other host's web may, its instance without a label may not; and the other way round.
        for run in (here, there):
            run("policy", "apply", policy)
        assert ping(there, web, db) and not ping(there, name, db)
        there("exec", web, "sh", "-c", f"echo x | nc -w 1 {address(here, db, name)} 8080", check=False)
        for run in (here, there):
            assert allowed(run, web, db, "80") and not allowed(run, b, db, "80")
        here("run", "-d", "--name", web + "2", "--network", name, "-l", "app=web", "busybox", "sleep", "1000")
        there("run", "-d", "--name", db + "2", "--network", name, "-l", "app=db", "busybox", "sleep", "1000")
        until(lambda: ping(here, web + "2", db + "2"))
        assert not ping(here, name, db + "2") and allowed(here, web + "2", db + "2", "80")
        assert f"{far}@{OUTSIDE}" in here("flows", "--denied", "--from", far).out
        suggested = here("policy", "suggest").out
        assert f"what {web}@" not in suggested and f"what {db} was seen to do" in suggested and '"app": "web"' in suggested
        # What is removed is forgotten, and what is renamed is known by the new name.
        there("rm", "-f", web)
        there("rename", far, far + "2")
        until(lambda: not told(here, web, name) and told(here, far + "2", name))
        assert not explained(here, web) and not told(here, far, name)
        # A host that takes leave has nobody: whoever speaks from there is in no stack, until it is heard again.
        pid = json.loads(there("inspect", name).out)[0]["State"]["Pid"]
        asks = ["nsenter", f"--net=/proc/{pid}/ns/net", "busybox", "ping", "-c", "1", "-W", "2", a]  # no command of Proa's there
        assert subprocess.run(asks, capture_output=True).returncode == 0
        keeper = next(pid for root, pid in keepers(name).items() if root != "/var/lib/proa")
        os.kill(keeper, signal.SIGTERM)
        until(lambda: not explained(here, far + "2"))
        assert subprocess.run(asks, capture_output=True).returncode != 0 and not allowed(here, b, name, "80")
        there("ps")
        until(lambda: explained(here, b))
        assert ping(there, name, a) and allowed(here, b, name, "80")
    finally:
        for run, which in ((here, [db, web + "2"]), (there, [web, far, far + "2", db + "2"])):
            run("rm", "-f", *which, check=False)
            run("policy", "rm", name, check=False)


class Peer:
    """Whoever speaks from the other end of the wire (span_peer.py)."""

    def __init__(self, key, source=OUTSIDE):
        program = os.path.join(os.path.dirname(__file__), "span_peer.py")
        self.process = subprocess.Popen(["nsenter", "--net=/run/netns/outside", sys.executable, program, source, INSIDE, "20043", key],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, *what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=10)


def test_what_a_peer_may_say(name, tmp_path):
    key = tmp_path / "key"
    key.write_text("a line that both have\n")
    key.chmod(0o644)
    create = ["network", "create", "--subnet", "10.77.20.0/24", "--ip-range", "10.77.20.0/25", "--vxlan-id", "43", "--peer", OUTSIDE]
    refuse(*create, "--peer-key", key, name, rc=1, say="can be read by others")
    key.chmod(0o600)
    proa(*create, "--peer-key", key, name)
    refuse(*[w if w != "43" else "10043" for w in create], name + "x", rc=1, say="choose another number")
    proa("run", "-d", "--name", name, "--network", name, "busybox", "sleep", "1000")
    own = address(proa, name)
    good = ["10.77.20.200", ["far", "svc"], ["app=db"]]
    try:
        with Peer("a line that both have") as peer:
            assert peer("connect") and peer("roster", [good])
            until(lambda: told(proa, "far", name) == ["10.77.20.200"])
            # Addresses that are not its own to give: of this host's part, of the gateway, of no network; names of others.
            lies = [[own, ["own"], []], ["10.77.20.77", ["part"], []], ["10.77.20.1", ["gateway"], []], ["10.99.0.1", ["outside"], []],
                    ["10.77.20.255", ["all"], []], ["10.77.20.201", [name, "www.example.com", "last"], []], good]
            assert peer("roster", lies)
            until(lambda: told(proa, "last", name) == ["10.77.20.201"])
            assert not any(told(proa, n, name) for n in ("own", "part", "gateway", "outside", "all", "www.example.com"))
            assert told(proa, name, name) == [own] and "10.77.20.1@" not in explained(proa, own)
            assert not explained(proa, "10.77.20.77") and explained(proa, "10.77.20.201")
            # What is no roster ends the connection, and what was known stays.
            assert peer("roster", [good] * 1001) and peer("closed")
            for wrong in ("00" * 64, "01000000ffffffff"):
                assert peer("connect") and peer("raw", wrong) and peer("closed")
            assert peer("connect") and peer("same") and peer("roster", [["10.77.20.202", ["a b"], []]]) and peer("closed")
            assert peer("connect") and peer("roster", [good]) and peer("connect") and peer("kept") and peer("closed")  # said once more
            until(lambda: not told(proa, "last", name))
        with Peer("another line") as peer:
            assert peer("connect") and peer("farewell") and peer("closed")
        # Killed: the next command starts both again, and what was heard is still there.
        for victim in ("keeper", "relay"):
            pid = keepers(name)["/var/lib/proa"]
            if victim == "relay":
                os.kill(relay_of(pid), signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGKILL)
            until(lambda: ended(pid))
            assert told(proa, "far", name) == ["10.77.20.200"]
            assert keepers(name)["/var/lib/proa"] != pid
        with Peer("a line that both have") as peer:
            assert peer("connect") and peer("roster", [good]) and peer("farewell")
        until(lambda: not told(proa, "far", name))
        assert not explained(proa, "10.77.20.200")
        # Nobody else so much as connects.
        ns, other = ["nsenter", "--net=/run/netns/outside"], OUTSIDE.rsplit(".", 1)[0] + ".77"
        subprocess.run([*ns, "ip", "addr", "add", other + "/24", "dev", "eth0"], check=True)
        try:
            with Peer("a line that both have", source=other) as peer:
                assert not peer("connect")
        finally:
            subprocess.run([*ns, "ip", "addr", "del", other + "/24", "dev", "eth0"], check=True)
    finally:
        proa("rm", "-f", name, check=False)
        proa("network", "rm", name)


def test_what_a_tunnel_needs(name):
    common = ["--subnet", "10.77.20.0/24", "--ip-range", "10.77.20.0/25"]
    if proa("network", "key", check=False).rc:  # a kernel without WireGuard; check_wireguard.py is for those that have it
        refuse("network", "key", rc=None, say="no WireGuard")
        refuse("network", "create", *common, "--vxlan-id", "42", "--peer", f"10.0.0.1={'A' * 43}=", name, rc=None, say="no WireGuard")
        assert not os.path.exists("/var/lib/proa/wireguard.key")
    for flags, say in (([*common, "--vxlan-id", "42"], "addresses of the other hosts"), (["--peer", "10.0.0.1"], "--vxlan-id"),
                       (["--peer-key", "/etc/hostname"], "--vxlan-id"),
                       (["--vxlan-id", "42", "--peer", "10.0.0.1"], "--ip-range"),
                       ([*common, "--vxlan-id", "42", "--peer", "10.0.0.1", "--wireguard-port", "51821"], "public keys"),
                       ([*common, "--vxlan-id", "42", "--peer", "10.0.0.1=x"], "is not a public key"),
                       ([*common, "--vxlan-id", "42", "--peer", "10.0.0.1", "--peer", f"10.0.0.2={'A' * 43}="], "either all peers"),
                       ([*common, "--vxlan-id", "42", "--peer", "10.0.0.1", "--peer", "10.0.0.1"], "same address"),
                       (["--subnet", "fd00:9::/64", "--ip-range", "10.77.20.0/25", "--vxlan-id", "42", "--peer", "10.0.0.1"], "--ip-range"),
                       ([*common, "--ipv6", "--vxlan-id", "42", "--peer", "10.0.0.1"], "--subnet fd00:1::/64"),
                       ([*common, "--gateway", "10.77.20.129", "--vxlan-id", "42", "--peer", "10.0.0.1"], "leave --gateway out"),
                       ([*common, "--subnet", "fd00:9::/64", "--gateway", "fd00:9::81", "--vxlan-id", "42", "--peer", "10.0.0.1"],
                        "gateway fd00:9::81 is not of this host's part"), ([*common, "--vxlan-id", "16777216", "--peer", "10.0.0.1"], "at most"),
                       ([*common, "--vxlan-id", "42", "--peer", "there"], "is not an IPv4 address"),
                       (["--subnet", "10.77.20.0/24", "--ip-range", "10.77.21.0/25"], "is not in subnet")):
        refuse("network", "create", *flags, name, rc=1, say=say)
