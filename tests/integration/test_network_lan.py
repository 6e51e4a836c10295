"""Instances with addresses of the LAN: a namespace plays the LAN, with its router; a bridge of the host's, or a link for macvlan, leads there."""

import json
import os
import subprocess
import sys
import uuid

import pytest

from cli import inspect, proa, refuse, until
from sandbox import TOP
from test_disk_machine import Serial

sys.path.insert(0, os.path.join(TOP, "tests/machine"))
import disk  # noqa: E402

ROUTER, ROUTER6 = "192.168.77.1", "fd00:77::1"
SUBNETS = ["--subnet", "192.168.77.0/24", "--subnet", "fd00:77::/64", "--ip-range", "192.168.77.128/26"]


def sh(*argv, **kw):
    return subprocess.run(argv, check=True, text=True, capture_output=True, stdin=subprocess.DEVNULL, **kw).stdout


class Lan:
    """192.168.77.0/24 and fd00:77::/64, on the other end of the host's link `wire`."""

    def __init__(self):
        mark = uuid.uuid4().hex[:6]
        self.name, self.wire, self.bridge = "lan" + mark, "wire" + mark, "lanbr" + mark
        sh("ip", "netns", "add", self.name)
        sh("ip", "link", "add", self.wire, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        sh("ip", "link", "set", self.wire, "up")
        for words in (["addr", "add", f"{ROUTER}/24", "dev", "eth0"], ["addr", "add", f"{ROUTER6}/64", "dev", "eth0", "nodad"],
                      ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"]):
            self("ip", *words)

    def make_bridge(self):
        sh("ip", "link", "add", self.bridge, "type", "bridge")
        sh("ip", "link", "set", self.wire, "master", self.bridge)
        sh("ip", "link", "set", self.bridge, "up")

    def __call__(self, *argv, **kw):
        return sh("nsenter", f"--net=/run/netns/{self.name}", *argv, **kw)

    def reaches(self, address):
        return subprocess.run(["nsenter", f"--net=/run/netns/{self.name}", "busybox", "ping", "-c", "1", "-W", "1", address],
                              capture_output=True).returncode == 0

    def end(self):
        for link in (self.bridge, self.wire):
            subprocess.run(["ip", "link", "del", link], capture_output=True)
        sh("ip", "netns", "del", self.name)


@pytest.fixture(params=["bridge", "macvlan"])
def lan(request, name):
    """The LAN, and a network `name` on it."""
    it = Lan()
    if request.param == "bridge":
        it.make_bridge()
    it.driver, it.parent = request.param, it.bridge if request.param == "bridge" else it.wire
    proa("network", "create", "-d", it.driver, "-o", f"parent={it.parent}", *SUBNETS, name)
    yield it
    for one in proa("ps", "-aq", "--filter", f"network={name}").lines:
        proa("rm", "-f", one, timeout=60)
    assert it.parent in sh("ip", "link")  # what is not Proa's stays
    proa("network", "rm", name)
    it.end()


def ping(who, address):
    return proa("exec", who, "ping", "-c", "1", "-W", "2", address, check=False).rc == 0


def test_containers_are_on_the_lan(lan, name):
    for who in ("a", "b"):
        proa("run", "-d", "--name", f"{name}{who}", "--network", name, "busybox", "sleep", "100000")
    one, two = (inspect(name + who)["NetworkSettings"]["Networks"][name] for who in "ab")
    assert one["IPAddress"].startswith("192.168.77.1") and one["Gateway"] == ROUTER and one["IPPrefixLen"] == 24
    assert f"default via {ROUTER} " in proa("exec", name + "a", "ip", "route").out
    until(lambda: lan.reaches(one["IPAddress"]) and lan.reaches(two["GlobalIPv6Address"]))
    for address in (ROUTER, ROUTER6, two["IPAddress"], two["GlobalIPv6Address"]):
        assert ping(name + "a", address), address
    shown = json.loads(proa("network", "inspect", name).out)[0]
    assert shown["Driver"] == lan.driver and shown["Options"]["parent"] == lan.parent
    # The same again after a restart; a fixed one; one that is taken.
    proa("restart", "-t", "0", name + "a")
    assert inspect(name + "a")["NetworkSettings"]["Networks"][name]["IPAddress"] == one["IPAddress"]
    until(lambda: lan.reaches(one["IPAddress"]))
    refuse("run", "--rm", "--network", f"{name}:ip={one['IPAddress']}", "busybox", "true", rc=None, say="in use")
    refuse("run", "--rm", "--network", f"{name}:ip={ROUTER}", "busybox", "true", rc=None, say="not a free one")
    # Beside a network of Proa's, joined and left while it runs: names come from that one.
    proa("run", "-d", "--name", name, "busybox", "sleep", "100000")
    proa("network", "connect", "--ip", "192.168.77.40", name, name)
    until(lambda: lan.reaches("192.168.77.40"))
    assert proa("exec", name, "nslookup", name + ".").out.count("192.168.77") == 0
    proa("network", "disconnect", name, name)
    assert not lan.reaches("192.168.77.40")
    # Gone with the instance, whatever ends it.
    os.kill(inspect(name + "b")["State"]["Pid"], 9)
    until(lambda: not lan.reaches(two["IPAddress"]))


def test_what_is_not_its_own_does_not_leave(lan, name):
    """On a bridge the port is filtered as everywhere; what macvlan lets out is the LAN's to judge."""
    proa("run", "-d", "--name", name, "--cap-add", "NET_ADMIN", "--network", f"{name}:ip=192.168.77.50", "busybox", "sleep", "100000")
    until(lambda: lan.reaches("192.168.77.50"))
    proa("exec", name, "ip", "addr", "add", "192.168.77.51/24", "dev", "eth0")
    assert lan.reaches("192.168.77.51") == (lan.driver == "macvlan")
    forged = [f for f in map(json.loads, proa("flows", "--format", "json").lines) if f["Verdict"] == "forged" and f["From"] == name]
    assert bool(forged) == (lan.driver == "bridge")


@pytest.mark.vm
def test_a_machine_on_either(lan, name):
    """Its root has every capability inside: what it sends in another's name is stopped outside, on a macvlan, too."""
    proa("run", "-d", "--vm", "--name", name, "--cap-add", "NET_ADMIN", "--network", f"{name}:ip=192.168.77.60", "busybox", "sleep", "100000", timeout=120)
    at = inspect(name)["NetworkSettings"]["Networks"][name]
    until(lambda: lan.reaches("192.168.77.60") and lan.reaches(at["GlobalIPv6Address"]))
    assert ping(name, ROUTER) and ping(name, ROUTER6)
    proa("run", "-d", "--name", name + "c", "--network", name, "busybox", "sleep", "100000")
    beside = inspect(name + "c")["NetworkSettings"]["Networks"][name]["IPAddress"]
    assert ping(name, beside) and ping(name + "c", "192.168.77.60")
    proa("exec", name, "ip", "addr", "add", "192.168.77.61/24", "dev", "eth0")
    assert lan.reaches("192.168.77.60") and not lan.reaches("192.168.77.61")
    for words in (["addr", "add", "192.168.77.62/32", "dev", "lo"], ["link", "set", "eth0", "down"], ["link", "set", "eth0", "address", "02:aa:aa:aa:aa:aa"],
                  ["link", "set", "eth0", "up"]):
        proa("exec", name, "ip", *words)
    assert not lan.reaches("192.168.77.60")
    forged = [f for f in map(json.loads, proa("flows", "--format", "json").lines) if f["Verdict"] == "forged" and f["From"] == name]
    assert len(forged) >= 2
    # Rules that somebody took away come back; a killed monitor leaves no link.
    if lan.driver == "macvlan":
        sh("nft", "flush", "ruleset")
        proa("run", "--rm", "busybox", "true")
        assert "192.168.77.60" in sh("nft", "list", "table", "netdev", "proa")
    link = [one for one in sh("ip", "-o", "link").split() if one.startswith("proav" + inspect(name)["Id"][:9])]
    assert link
    with open(f"/proc/{inspect(name)['State']['Pid']}/stat") as f:
        os.kill(int(f.read().rsplit(")", 1)[1].split()[1]), 9)
    until(lambda: not inspect(name)["State"]["Running"])
    assert link[0].split("@")[0].rstrip(":") not in sh("ip", "-o", "link")


def test_what_a_lan_refuses(lan, name):
    run = ["run", "-d", "--network", name]
    refuse(*run, "-p", "18080:80", "busybox", "true", rc=None, say="own addresses")
    if lan.driver == "macvlan":
        for limit in (["--network-rate", "10m"], ["--network-connections", "9"]):
            refuse(*run, *limit, "busybox", "true", rc=None, say="does not pass this host")
    for flags, say in ((["-d", "macvlan"], "--parent"), (["-d", "macvlan", "--parent", "no-such-link"], "no-such-link"), (["-d", "ipvlan"], "macvlan"),
                       (["--parent", "proa0"], "no link to the LAN"), (["--parent", lan.wire, "--internal"], "--internal"),
                       (["--parent", lan.wire, "--isolate"], "--isolate"), (["--parent", lan.wire, "--default-deny"], "--default-deny"),
                       (["--parent", lan.wire, "--gateway", "10.9.9.9"], "needs a subnet"), (["--parent", lan.wire, "--ipv6"], "--subnet"),
                       (["--parent", lan.wire, "-o", "parent=other"], "invalid network option"), (["--parent", lan.wire, *SUBNETS], "overlaps")):
        refuse("network", "create", *flags, name + "x", rc=1, say=say)
    assert name + "x" not in proa("network", "ls").out


def test_a_lan_that_names_no_subnet_takes_none(name):
    proa("network", "create", "-d", "macvlan", "--parent", "up0", name)
    try:
        proa("network", "create", name + "y")
        proa("network", "rm", name + "y")
    finally:
        proa("network", "rm", name)


@pytest.mark.vm
def test_machines_are_on_the_lan(name):
    """A light machine has a fixed address; the system of a disk asks the LAN's own DHCP."""
    lan = Lan()
    lan.make_bridge()
    dhcp = subprocess.Popen(["nsenter", f"--net=/run/netns/{lan.name}", "dnsmasq", "--keep-in-foreground", "--conf-file=", "--port=0", "--no-ping",
                             "--leasefile-ro", "--user=root", "--interface=eth0", "--dhcp-range=192.168.77.200,192.168.77.209,1h"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        proa("network", "create", "--parent", lan.bridge, name)
        t = Serial("run", "-it", "--name", name, "--network", name, "-m", "192m", disk.path_of("tiny"))
        t.login()
        t.run(r"printf '#!/bin/sh\n[ $1 = bound ] && ip addr add $ip/$mask dev eth0 && echo got $ip\n' >/tmp/say; chmod 755 /tmp/say; ip link set eth0 up")
        got = t.run("udhcpc -i eth0 -n -q -f -s /tmp/say 2>/dev/null | grep got")
        assert len(got) == 1 and got[0].startswith("got 192.168.77.20")
        assert lan.reaches(got[0].split()[1])
        proa("rm", "-f", name, timeout=60)
        proa("network", "rm", name)
        proa("network", "create", "--parent", lan.bridge, *SUBNETS, name)
        proa("run", "-d", "--vm", "--name", name, "--network", name, "busybox", "sleep", "100000", timeout=120)
        until(lambda: lan.reaches(inspect(name)["NetworkSettings"]["IPAddress"]))
        assert ping(name, ROUTER)
    finally:
        dhcp.kill()
        dhcp.wait()
        proa("rm", "-f", name, check=False, timeout=60)
        proa("network", "rm", name, check=False)
        proa("image", "prune", "-f")  # the disk came without a name
        lan.end()
