"""`--network-connections`: how many connections an instance may have open. What gets through is counted outside, by the ports that it
comes from."""

import contextlib
import json
import os
import socket
import subprocess

import pytest

from cli import BUILD, inspect, proa, refuse, until
from sandbox import OUTSIDE

SENDER = os.path.join(BUILD, "tests/integration/sender")
MOST, TRIED = 40, 150
# Says how many senders it has heard since it said so last, at each line of standard input.
HEAR = """
import select, socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22); s.bind(('::', 9201))
print('up', flush=True)
for line in sys.stdin:
    heard = set()
    while select.select([s], [], [], 0.3)[0]: heard.add(s.recvfrom(64)[1][1])
    print(len(heard), flush=True)
"""
ACCEPT = """
import socket, sys
s = socket.create_server(('', 9202), backlog=500); print('up', flush=True)
kept = []
while True: kept.append(s.accept()[0])
"""
# Opens connections, says how many there are, and ends them at each line of standard input.
CONNECT = """
import select, socket, struct, sys
while True:
    made = [socket.socket() for _ in range(int(sys.argv[3]))]
    for s in made:
        s.setblocking(False)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # its end is a reset
        s.connect_ex((sys.argv[1], int(sys.argv[2])))
    there = set()
    while True:
        ready = select.select([], [s for s in made if s not in there], [], 0.3)[1]
        if not ready: break
        there.update(ready)
    print(len(there), flush=True)
    for s in made: s.close()
    if not sys.stdin.readline(): break
"""
# So many by IPv6 to one that refuses them, the first of which is waited for, then so many by IPv4.
BOTH = """
import contextlib, socket, sys
kept = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(int(sys.argv[2]))]
for s in kept:
    s.connect((sys.argv[1], 9203))
    s.send(b'x')
    s.settimeout(20 if s is kept[0] else 0)
    with contextlib.suppress(OSError): s.recv(1)
kept += [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(int(sys.argv[4]))]
for s in kept[int(sys.argv[2]):]: s.sendto(b'x', (sys.argv[3], 9201))
"""


@contextlib.contextmanager
def outside(program):
    with subprocess.Popen(["nsenter", "--net=/run/netns/outside", "python3", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as p:
        try:
            assert p.stdout.readline() == "up\n"
            yield p
        finally:
            p.kill()


def ask(p):
    p.stdin.write("\n")
    p.stdin.flush()
    return int(p.stdout.readline())


PORTS = iter(range(2000, 60000, 600))  # of nobody before: what is known by its ports begins nothing


def flows(name, sink, count=TRIED):
    proa("exec", name, "/sender", "flows", OUTSIDE, "9201", str(next(PORTS)), str(count), timeout=60)
    return ask(sink)


def of_host(sink):
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(TRIED)]
    for s in made:
        s.sendto(b"x", (OUTSIDE, 9201))
    heard = ask(sink)
    for s in made:
        s.close()
    return heard


def elements():
    """Port by port: the number that is its own; 0: as all that have none."""
    listed = json.loads(subprocess.run(["nft", "-j", "list", "table", "inet", "proa"], check=True, text=True, capture_output=True).stdout)["nftables"]
    items = {i["name"]: i.get("elem", []) for kind in ("map", "set") for i in (row.get(kind) for row in listed) if i}
    found = {port["concat"][1]: 0 for port, _ in items["counted"]}
    for e in items["few"] + items["many"]:
        found[e["elem"]["val"]["concat"][1]] += e["elem"]["ct count"]["val"]
    return found


def mac(name):
    return inspect(name)["NetworkSettings"]["MacAddress"]


def limited(name):
    rows = [json.loads(line) for line in proa("flows", "--denied", "--from", name, "--format", "json").out.splitlines()]
    return [(r["To"], r["Rule"]) for r in rows if r["Verdict"] == "limited"]


def read(name):
    with open("/proc/sys/net/netfilter/" + name) as f:
        return int(f.read())


@pytest.fixture
def kept_for():
    """How many seconds UDP that nobody answers is kept: longer than a test takes, unless it says otherwise."""
    path = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout"

    def keep(seconds):
        with open(path, "w") as f:
            f.write(str(seconds))
    with open(path) as f:
        before = f.read().strip()
    keep(300)
    yield keep
    keep(before)


def test_one_is_held_and_the_others_go_on(kind, flags, name, kept_for):
    """Whatever it opens, so many get out; its neighbour and the host are free. It is let on when what it had has ended."""
    other = name + "o"
    policy = {"kind": "NetworkPolicy", "metadata": {"name": name}, "spec": {"podSelector": {"matchLabels": {"nobody": "has-it"}}}}
    try:
        proa("run", "-d", *flags, "--name", name, "--network-connections", str(MOST), "busybox", "sleep", "100000", timeout=120)
        proa("run", "-d", "--name", other, "busybox", "sleep", "100000")
        for one in (name, other):
            proa("cp", SENDER, one + ":/sender")
        assert inspect(name)["HostConfig"]["NetworkConnections"] == str(MOST) and elements()[mac(name)] == MOST
        usual = max(read("nf_conntrack_max") // 16, 4096)
        table = subprocess.run(["nft", "list", "chain", "inet", "proa", "usual"], check=True, text=True, capture_output=True).stdout
        assert elements()[mac(other)] == 0 and f"ct count over {usual // 128} " in table
        with outside(HEAR) as sink:
            # All together, also when rules change that are others'.
            heard = flows(name, sink)
            proa("policy", "apply", "-", input=json.dumps(policy))
            proa("run", "--rm", "busybox", "true")
            heard += flows(name, sink) + flows(name, sink)
            assert MOST - 5 <= heard <= MOST
            assert flows(other, sink) == of_host(sink) == TRIED
            assert limited(name) == [("*", "as many connections open as it may have")] and not limited(other)
            # Changed while it runs, kept for the next start, and back with rules that somebody took away.
            proa("update", "--network-connections", "none", name)
            assert mac(name) not in elements() and flows(name, sink) == TRIED
            # More are in many lists.
            proa("update", "--network-connections", "1280", name)
            assert elements()[mac(name)] == 1280
            heard = sum(flows(name, sink, 600) for _ in range(5))
            assert 1000 < heard <= 1280
            proa("update", "--network-connections", "30", name)
            assert inspect(name)["HostConfig"]["NetworkConnections"] == "30" and elements()[mac(name)] == 30
            subprocess.run(["nft", "delete", "table", "inet", "proa"], check=True)
            proa("run", "--rm", "busybox", "true")
            assert elements()[mac(name)] == 30 and 20 <= flows(name, sink) <= 30
            # What has ended makes room.
            kept_for(1)
            proa("update", "--network-connections", "20", name)
            assert flows(name, sink) >= 10 and until(lambda: flows(name, sink))
            kept_for(300)
        address = mac(name)
        proa("rm", "-f", name, timeout=60)
        assert address not in elements() and mac(other) in elements()
    finally:
        proa("policy", "rm", "default/" + name, check=False)
        proa("rm", "-f", other, check=False)


def test_connections_of_tcp_and_of_both_families(name, kept_for):
    """Those that were closed count no more; IPv4 and IPv6 are one number."""
    network, fellow = name + "n", name + "o"
    proa("network", "create", "--ipv6", network)
    try:
        proa("run", "-d", "--name", name, "--network", network, "--network-connections", str(MOST), "busybox", "sleep", "100000")
        pid = str(inspect(name)["State"]["Pid"])
        inside = ["nsenter", "-t", pid, "-n", "python3", "-c"]
        with outside(ACCEPT), subprocess.Popen([*inside, CONNECT, OUTSIDE, "9202", str(TRIED)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                               text=True) as p:
            assert int(p.stdout.readline()) == MOST
            assert ask(p) == MOST
            p.stdin.close()
        proa("run", "-d", "--name", fellow, "--network", network, "busybox", "sleep", "100000")
        to = inspect(fellow)["NetworkSettings"]["Networks"][network]["GlobalIPv6Address"]
        with outside(HEAR) as sink:
            subprocess.run([*inside, BOTH, to, str(MOST // 2), OUTSIDE, str(TRIED)], check=True)
            assert MOST // 2 - 5 <= ask(sink) <= MOST // 2
    finally:
        proa("rm", "-f", name, fellow, check=False)
        proa("network", "rm", network)


def test_what_is_usual(name, kept_for):
    """One that nothing was said of does not fill the host's table either. It has a hardware address that nobody has after it."""
    proa("run", "-d", "--name", name, "--mac-address", "02:00:00:77:66:55", "busybox", "sleep", "100000")
    most = max(read("nf_conntrack_max") // 16, 4096)
    flood = ("import contextlib, socket, sys\nfor port in range(1000, 1016):\n s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', port))\n"
             " for to in range(1, %d // 16):\n  with contextlib.suppress(OSError): s.sendto(b'x', ('%s', to))\n" % (most * 3 // 2, OUTSIDE))
    before = read("nf_conntrack_count")
    subprocess.run(["nsenter", "-t", str(inspect(name)["State"]["Pid"]), "-n", "python3", "-c", flood], check=True)
    assert most * 3 // 4 < read("nf_conntrack_count") - before <= most and limited(name)


@pytest.mark.parametrize("words", ["many", "", "0", "-1", "4294967295", "1.5"])
def test_words_that_are_refused(name, words):
    refuse("create", "--network-connections", words, "--name", name, "busybox", "true", say="--network-connections")
    assert name not in proa("ps", "-a").out


def test_where_there_is_no_network_of_its_own(name):
    refuse("create", "--network", "host", "--network-connections", "10", "--name", name, "busybox", "true", say="network of the instance's own")
