"""`--network-rate`: what an instance may receive and send. Bytes are counted at the wire: never more than what may come at once
and what the rate gives in the time that really passed, however slow this machine is at the moment."""

import contextlib
import json
import socket
import subprocess
import time

import pytest

from cli import inspect, proa, refuse, until
from sandbox import OUTSIDE

RATE = 200_000  # bytes a second: 1600kbit
BURST = RATE  # what may come at once: nftables counts whole seconds
SENT = 2_000_000


def links():
    return {link["ifname"]: link for link in json.loads(subprocess.run(["ip", "-j", "-s", "link"], check=True, capture_output=True).stdout)}


def count(link, which):
    return links()[link]["stats64"][which]["bytes"]


def port_of(name):
    """The host's end of its only link."""
    found = [link for link in links() if link.startswith("proav" + inspect(name)["Id"][:9])]
    assert len(found) == 1
    return found[0]


def measure(link, which, send):
    """(bytes that passed, the most that a limit lets pass) while send() lasted."""
    before, start = count(link, which), time.monotonic()
    send()
    passed = count(link, which) - before
    return passed, BURST + RATE * (time.monotonic() - start) * 1.05 + 20000


def known(address):
    """The host has its hardware address: what is sent before that waits, and little of it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"x", (address, 9))
    return "lladdr" in subprocess.run(["ip", "neigh", "show", address], check=True, text=True, capture_output=True).stdout


def to(name):
    """Datagrams of the host to the instance: nobody waits for anything."""
    address = inspect(name)["NetworkSettings"]["IPAddress"]
    until(lambda: known(address))

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.setblocking(False)
            for _ in range(SENT // 1400):
                with contextlib.suppress(BlockingIOError):
                    s.sendto(bytes(1400), (address, 9))
    return measure(port_of(name), "tx", send)


def of(name):
    """A connection of the instance to the outside, which takes the time it needs; what gets there leaves by up0."""
    sink = ("import socket\ns = socket.create_server(('%s', 9009)); print('ready', flush=True); c = s.accept()[0]\n"
            "while c.recv(1 << 20): pass\n" % OUTSIDE)
    with subprocess.Popen(["nsenter", "--net=/run/netns/outside", "python3", "-c", sink], stdout=subprocess.PIPE) as server:
        server.stdout.readline()
        passed, most = measure("up0", "tx", lambda: proa("exec", name, "sh", "-c", f"dd if=/dev/zero bs=1000 count=400 2>/dev/null | nc {OUTSIDE} 9009", timeout=120))
        assert server.wait(timeout=60) == 0 and passed > 400_000
        return passed, most


def queue(port):
    return subprocess.run(["tc", "qdisc", "show", "dev", port], check=True, text=True, capture_output=True).stdout


def rules():
    return subprocess.run(["nft", "list", "table", "bridge", "proa"], check=True, text=True, capture_output=True).stdout


def test_both_ways_and_changed_while_it_runs(kind, flags, name):
    proa("run", "-d", *flags, "--name", name, "busybox", "sleep", "100000", timeout=120)
    port = port_of(name)
    passed, most = to(name)
    assert passed > 600_000, "without a limit"
    for times in range(2):
        proa("update", "--network-rate", "1600kbit", name)
        assert inspect(name)["HostConfig"]["NetworkRate"] == "1600kbit"
        passed, most = to(name)
        assert 100_000 < passed < most
        if times == 0:  # rules that somebody took away come back with the limit
            for family in ("bridge", "inet"):
                subprocess.run(["nft", "delete", "table", family, "proa"], check=True)
            proa("run", "--rm", "busybox", "true")
        passed, most = of(name)
        assert passed < most, f"{passed}, at most {most}"
    # One way only, and none.
    proa("update", "--network-rate", "in=1600kbit", name)
    assert "bytes/second" not in rules()
    passed, most = to(name)
    assert passed < most
    proa("update", "--network-rate", "none", name)
    assert "tbf" not in queue(port)
    # It is there again at the next start, on each network, and gone with the instance.
    proa("update", "--network-rate", "in=1gbit,out=1600kbit", name)
    proa("restart", "-t", "0", name, timeout=120)
    passed, most = of(name)
    assert passed < most and port_of(name) == port
    assert "tbf" in queue(port)
    proa("rm", "-f", name, timeout=60)
    assert port not in rules()


def test_the_wall_stands_without_the_queue_inside(name):
    """Root of the container's network takes the queue away: what is too much is dropped by the host."""
    proa("run", "-d", "--name", name, "--network-rate", "1600kbit", "busybox", "sleep", "100000")
    pid = str(inspect(name)["State"]["Pid"])
    flood = ("import contextlib, socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.setblocking(False)\n"
             "for _ in range(2000):\n with contextlib.suppress(BlockingIOError): s.sendto(bytes(1400), ('%s', 9))\n" % OUTSIDE)
    inside = ["nsenter", "-t", pid, "-n"]
    subprocess.run([*inside, "tc", "qdisc", "del", "dev", "eth0", "root"], check=True)
    sent = count(port_of(name), "rx")
    passed, most = measure("up0", "tx", lambda: subprocess.run([*inside, "python3", "-c", flood], check=True))
    assert count(port_of(name), "rx") - sent > 1_000_000 and passed < most


@pytest.mark.parametrize("rate", ["fast", "", "10", "-1m", "1.2345m", "10mb", "101gbit", "up=10m", "in=1m,in=2m", "in=1m,,out=1m"])
def test_words_that_are_refused(name, rate):
    refuse("create", "--network-rate", rate, "--name", name, "busybox", "true", say="--network-rate")
    assert name not in proa("ps", "-a").out


def test_where_there_is_no_network_of_its_own(name):
    refuse("create", "--network", "host", "--network-rate", "10m", "--name", name, "busybox", "true", say="network of the instance's own")
    proa("create", "--network-rate", "10m", "--name", name, "busybox", "true")
    refuse("update", "--network-rate", "much", name, rc=1, say="--network-rate")
    assert inspect(name)["HostConfig"]["NetworkRate"] == "10m"
