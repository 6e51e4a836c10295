"""`--network-priority`: whose packets go first where one link of the host's is full. Two instances send more than the link to
the outside carries; what of each gets there is counted there, by the port that it was sent to."""

import json
import os
import subprocess
import time

import pytest

from cli import BUILD, PROA, inspect, proa, refuse, until
from sandbox import OUTSIDE

SENDER = os.path.join(BUILD, "tests/integration/sender")
RATE = 50_000  # bytes a second that the link carries
# Counts what arrives at each of two ports, until standard input ends.
COUNT = """
import select, socket, sys
ports = {}
for p in (9101, 9102):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20); s.bind(('', p)); ports[s] = [p, 0]
print('up', flush=True)
while True:
    ready, _, _ = select.select([sys.stdin, *ports], [], [])
    if sys.stdin in ready: break
    for s in ready: ports[s][1] += len(s.recv(4096))
print([n for _, n in ports.values()])
"""


def make_narrow():
    """The link to the outside carries RATE, behind the queue that every link has; nothing waits in it."""
    tc = ["tc", "qdisc"]
    subprocess.run([*tc, "del", "dev", "up0", "root"], capture_output=True)
    subprocess.run([*tc, "add", "dev", "up0", "root", "handle", "1:", "tbf", "rate", f"{RATE * 8}", "burst", "3000", "limit", "4000000"], check=True)
    subprocess.run([*tc, "add", "dev", "up0", "parent", "1:", "handle", "2:", "pfifo_fast"], check=True)


@pytest.fixture
def narrow():
    yield
    subprocess.run(["tc", "qdisc", "del", "dev", "up0", "root"], check=True)


def flood(name, port, seconds):
    return subprocess.Popen([PROA, "exec", name, "/sender", "udp", OUTSIDE, str(port), str(seconds)], stdin=subprocess.DEVNULL)


def share(one, other, seconds=6):
    """How many bytes of each arrive while both send."""
    make_narrow()
    with subprocess.Popen(["nsenter", "--net=/run/netns/outside", "python3", "-c", COUNT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sink:
        assert sink.stdout.readline() == "up\n"
        senders = [flood(one, 9101, seconds), flood(other, 9102, seconds)]
        for s in senders:
            s.wait(timeout=60)
        time.sleep(0.5)
        return json.loads(sink.communicate(input="")[0])


def test_high_goes_before_low(narrow, kind, flags, name):
    """A container beside an instance of either kind; then the other way round, while both run."""
    other = name + "o"
    try:
        proa("run", "-d", *flags, "--network-priority", "high", "--name", name, "busybox", "sleep", "100000", timeout=120)
        proa("run", "-d", "--network-priority", "low", "--name", other, "busybox", "sleep", "100000")
        for one in (name, other):
            proa("cp", SENDER, one + ":/sender")
        high, low = share(name, other)
        assert high > 3 * low and high > RATE, (high, low)
        proa("update", "--network-priority", "low", name)
        proa("update", "--network-priority", "high", other)
        assert inspect(name)["HostConfig"]["NetworkPriority"] == "low"
        # Rules that somebody took away come back with it.
        for family in ("bridge", "inet"):
            subprocess.run(["nft", "delete", "table", family, "proa"], check=True)
        proa("run", "--rm", "busybox", "true")
        low, high = share(name, other)
        assert high > 3 * low and high > RATE, (high, low)
    finally:
        proa("rm", "-f", other, check=False)


def priorities():
    tables = subprocess.run(["nft", "-j", "list", "ruleset"], check=True, text=True, capture_output=True).stdout
    return {m["map"]["name"]: m["map"].get("elem", []) for m in json.loads(tables)["nftables"] if "map" in m and m["map"]["name"] in
            ("priorities", "preferred")}


def test_kept_and_gone(name):
    proa("run", "-d", "--name", name, "busybox", "sleep", "100000")
    assert not any(priorities().values())
    proa("update", "--network-priority", "high", name)
    assert len(priorities()["priorities"]) == len(priorities()["preferred"]) == 1
    proa("restart", "-t", "0", name)
    assert len(priorities()["priorities"]) == 1
    proa("update", "--network-priority", "normal", name)
    assert not any(priorities().values())
    proa("update", "--network-priority", "low", name)
    proa("rm", "-f", name)
    until(lambda: not any(priorities().values()))


def test_words_that_are_refused(name):
    for word in ("fast", "", "HIGH", "1"):
        refuse("create", "--network-priority", word, "--name", name, "busybox", "true", say="--network-priority")
    refuse("create", "--network", "host", "--network-priority", "high", "--name", name, "busybox", "true", say="network of the instance's own")
    assert name not in proa("ps", "-a").out
