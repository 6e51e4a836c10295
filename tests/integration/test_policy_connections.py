"""What belongs to a connection that the policies have let through: its later packets, and errors about it."""

import json
import select
import subprocess
import sys

import pytest

from cli import inspect, proa, until
from policy_documents import app, apply, network
from test_policy import nothing_stays  # noqa: F401 (a fixture)

SERVE = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
s = socket.create_server((sys.argv[1], 80), family=family)
print("up", flush=True)
while True:
    c, _ = s.accept()
    while b := c.recv(100):
        c.sendall(b)
"""
# A word on its input is sent there and back; answers with its own port, then with "came back" or why not.
HOLD = """
import socket, sys
c = socket.create_connection((sys.argv[1], 80), 10)
print(c.getsockname()[1], flush=True)
for line in sys.stdin:
    try:
        c.sendall(b"x")
        print("came back" if c.recv(1) else "ended", flush=True)
    except OSError as e:
        print("ended", flush=True)
"""
# An ICMP error (too big) to A about the TCP connection of A with B.
ERROR = """
import socket, struct, sys
a, b, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
v6 = ":" in a
at = lambda x: socket.inet_pton(socket.AF_INET6 if v6 else socket.AF_INET, x)

def checksum(data):
    n = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while n >> 16:
        n = (n & 0xffff) + (n >> 16)
    return ~n & 0xffff

tcp = struct.pack("!HHIIBBHHH", port, 80, 1, 1, 0x50, 0x10, 1000, 0, 0)
if v6:
    s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    s.sendto(struct.pack("!BBHI", 2, 0, 0, 1300) + struct.pack("!IHBB", 6 << 28, len(tcp), 6, 64) + at(a) + at(b) + tcp + b"HOSTILE!", (a, 0))
else:
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    inner = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 7, 0, 64, 6, 0, at(a), at(b))
    inner = inner[:10] + struct.pack("!H", checksum(inner)) + inner[12:]
    body = struct.pack("!BBHI", 3, 4, 0, 1300) + inner + tcp + b"HOSTILE!"
    s.sendto(body[:2] + struct.pack("!H", checksum(body)) + body[4:], (a, 0))
"""
LISTEN = """
import socket, sys
v6 = sys.argv[1] == "v6"
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP)
print("up", flush=True)
s.settimeout(float(sys.argv[2]))
try:
    while b"HOSTILE!" not in s.recv(2000):
        pass
    print("came")
except TimeoutError:
    print("silence")
"""
PEOPLE = {"client": "default", "server": "default", "neighbour": "default", "stranger": "other"}
LOOK = "table inet look {\n chain c {\n type filter hook forward priority 20;\n"


def within(name, code, *args):
    pid = inspect("conn-" + name)["State"]["Pid"]
    return subprocess.Popen(["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", code, *map(str, args)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def street():
    """Addresses of each, IPv4 and IPv6, of one network."""
    proa("network", "create", "--subnet", "10.91.0.0/24", "--ipv6", "--subnet", "fd91::/64", "conn-net")
    addresses = {}
    for name, stack in PEOPLE.items():
        proa("run", "-d", "--name", "conn-" + name, "--network", "conn-net", "-l", "app=" + name, "-l", "io.proa.stack=" + stack,
             "busybox", "sleep", "100000")
        seen = inspect("conn-" + name)["NetworkSettings"]["Networks"]["conn-net"]
        addresses[name] = {"v4": seen["IPAddress"], "v6": seen["GlobalIPv6Address"]}
    yield addresses
    for name in PEOPLE:
        proa("rm", "-f", "conn-" + name)
    proa("network", "rm", "conn-net")


@pytest.fixture(params=["v4", "v6"])
def held(street, request):
    """A connection from client to server: the family, the process at its client's end, its port."""
    address = street["server"][request.param]
    server = within("server", SERVE, address)
    assert server.stdout.readline() == "up\n"
    client = within("client", HOLD, address)
    port = int(client.stdout.readline())
    yield request.param, client, port
    for process in (client, server):
        process.kill()
        process.wait()


def goes_on(client):
    client.stdin.write("x\n")
    client.stdin.flush()
    return client.stdout.readline() == "came back\n"


@pytest.mark.parametrize("sender", ["server", "neighbour", "stranger"])
def test_who_may_send_errors(street, held, sender):
    """About a connection: its other end. Another, of the stack or not, would make up that a packet was too big."""
    family, client, port = held
    assert goes_on(client)
    before = strays(sender)
    listener = within("client", LISTEN, family, 10 if sender == "server" else 2)
    assert listener.stdout.readline() == "up\n"
    addresses = street["client"][family], street["server"][family]
    assert within(sender, ERROR, *addresses, port).wait(20) == 0
    assert listener.communicate()[0] == ("came\n" if sender == "server" else "silence\n")
    if sender != "server":
        until(lambda: strays(sender) > before)
    assert goes_on(client)


def strays(sender):
    flows = [json.loads(line) for line in proa("flows", "--denied", "--format", "json", "--no-trunc").lines]
    return sum(int(f["Count"]) for f in flows if f["From"] == "conn-" + sender and f["To"] == "conn-client")


def nft(text):
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


def counted(chain="c"):
    listed = json.loads(subprocess.run(["nft", "-j", "list", "table", "inet", "look"], capture_output=True, text=True, check=True).stdout)
    return [e["counter"]["packets"] for item in listed["nftables"] if "rule" in item and item["rule"]["chain"] == chain
            for e in item["rule"]["expr"] if "counter" in e]


def test_a_connection_that_was_asked_about_is_marked(held):
    """All its packets but the first: the rules have been passed, and those of before a change are passed again after it."""
    _, client, _ = held
    nft(LOOK + " ct mark & 0xff000001 == 0x50000001 counter\n ct mark & 0xff000001 != 0x50000001 ct state established counter\n }\n}\n")
    try:
        for change in (None, 8080, 8081):
            if change:
                apply(network("x", {"podSelector": app("neighbour"), "ingress": [{"ports": [{"port": change}]}]}))
            for _ in range(3):
                assert goes_on(client)
        marked, others = counted()
        assert marked > 15 and others == 0
    finally:
        nft("delete table inet look\n")


def test_a_mark_of_the_hosts_stays(street):
    """And a policy that forbids such a connection ends it all the same."""
    nft("table inet look {\n chain marks {\n type filter hook prerouting priority -150;\n tcp dport 80 ct state new ct mark set 0x77\n }\n"
        " chain c {\n type filter hook forward priority 20;\n tcp dport 80 ct mark 0x77 counter\n tcp dport 80 ct mark != 0x77 counter\n }\n}\n")
    address = street["server"]["v4"]
    server = within("server", SERVE, address)
    try:
        assert server.stdout.readline() == "up\n"
        client = within("client", HOLD, address)
        client.stdout.readline()
        assert goes_on(client) and goes_on(client)
        kept, changed = counted()
        assert kept > 3 and changed == 0
        apply(network("x", {"podSelector": app("server"), "ingress": [{"from": [{"podSelector": app("neighbour")}]}]}))
        assert not goes_on(client)
    finally:
        nft("delete table inet look\n")
        server.kill()
        server.wait()
        client.kill()
        client.wait()


def pings(who, address):
    return proa("exec", "conn-" + who, "ping", "-c", "1", "-W", "1", address, check=False).rc == 0


def test_the_gateway_answers_and_the_rest_of_the_host_does_not(street):
    """A ping of another address of the host's is one of the host."""
    others = subprocess.run(["ip", "-j", "addr", "show", "proa0"], capture_output=True, text=True, check=True).stdout
    other = next(a["local"] for a in json.loads(others)[0]["addr_info"] if a["family"] == "inet")
    assert pings("client", "10.91.0.1") and pings("client", "fd91::1")
    assert not pings("client", other)
    apply(network("x", {"podSelector": app("client"), "policyTypes": ["Egress"], "egress": [{"to": [{"nodes": {}}]}]}))
    assert pings("client", other)


ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 80))
print("up", flush=True)
while True:
    data, who = s.recvfrom(100)
    s.sendto(data, who)
"""
# A datagram for each word on its input, always from the same socket.
TALK = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 80))
s.settimeout(1)
for line in sys.stdin:
    try:
        s.send(b"x")
        print("came back" if s.recv(1) else "?", flush=True)
    except OSError:
        print("ended", flush=True)
"""


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_datagrams_that_a_new_rule_forbids(street, family):
    """UDP has no end of its own: what goes on is asked about after a change, as a connection is."""
    address = street["server"][family]
    server = within("server", ECHO, address)
    client = within("client", TALK, address)
    try:
        assert server.stdout.readline() == "up\n"
        assert goes_on(client) and goes_on(client)
        apply(network("x", {"podSelector": app("server"), "ingress": [{"from": [{"podSelector": app("neighbour")}]}]}))
        assert not goes_on(client) and not goes_on(client)
        apply(network("x", {"podSelector": app("server"), "ingress": [{"from": [{"podSelector": app("client")}]}]}))
        assert goes_on(client)
    finally:
        for process in (server, client):
            process.kill()
            process.wait()


@pytest.mark.parametrize("hook, priority", [("forward", -20), ("forward", 20), ("prerouting", -150), ("postrouting", 50)])
def test_the_hosts_own_rules_stay_in_force(street, held, hook, priority):
    """Whatever a policy allows, also for a connection that has passed the policies, and within one network."""
    family, client, _ = held
    apply(network("x", {"podSelector": app("server"), "ingress": [{"from": [{"podSelector": app("client")}]}]}))
    assert goes_on(client) and goes_on(client)
    nft(f"table inet theirs {{\n chain c {{\n type filter hook {hook} priority {priority};\n tcp dport 80 counter drop\n }}\n}}\n")
    try:
        other = within("client", "import socket, sys\nsocket.create_connection((sys.argv[1], 80), 1)", street["server"][family])
        assert other.wait(20) != 0
        client.stdin.write("x\n")
        client.stdin.flush()
        assert not select.select([client.stdout], [], [], 1)[0]
    finally:
        nft("delete table inet theirs\n")
    assert client.stdout.readline() == "came back\n"
