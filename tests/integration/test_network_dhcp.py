"""Addresses of the LAN that its own DHCP server gives (a network with --parent and no --subnet): dnsmasq in the namespace that
plays the LAN answers containers and light machines."""

import json
import os
import subprocess
import time

import pytest

from cli import inspect, proa, refuse, until
from leaks import processes
from test_network_lan import ROUTER, Lan, ping


class Server:
    """The LAN's dnsmasq; what it has given is in its lease file."""

    def __init__(self, lan, folder, *options):
        self.leases, self.log = folder / "leases", folder / "log"
        self.leases.write_text("")
        self.process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{lan.name}", "dnsmasq", "--keep-in-foreground", "--conf-file=", "--port=0", "--no-ping", "--user=root",
             "--interface=eth0", f"--dhcp-leasefile={self.leases}", "--log-dhcp", f"--log-facility={self.log}", "--pid-file=",
             "--dhcp-authoritative", f"--dhcp-option=option:dns-server,{ROUTER}", *(options or ["--dhcp-range=192.168.77.200,192.168.77.209,1h"])],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def given(self):
        """Hardware address: address, name."""
        return {line.split()[1]: tuple(line.split()[2:4]) for line in self.leases.read_text().splitlines() if line.count(":") > 4}

    def said(self, word, mac):
        return sum(word in line and mac in line for line in self.log.read_text().splitlines())

    def end(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(params=["bridge", "macvlan"])
def lan(request, name, tmp_path):
    """The LAN with its DHCP server, and a network `name` on it without addresses of its own."""
    it = Lan()
    if request.param == "bridge":
        it.make_bridge()
    it.driver, it.parent = request.param, it.bridge if request.param == "bridge" else it.wire
    it.server = Server(it, tmp_path)
    proa("network", "create", "-d", it.driver, "--parent", it.parent, name)
    yield it
    it.server.end()
    for one in proa("ps", "-aq", "--filter", f"network={name}").lines:
        proa("rm", "-f", one, timeout=60)
    proa("network", "rm", name)
    it.end()


def place(who, network):
    return inspect(who)["NetworkSettings"]["Networks"][network]


def askers():
    return [p for p in processes() if "proa-address:" in p]


def run(kind_flags, name, network, *more, **kw):
    return proa("run", "-d", *kind_flags, "--name", name, "--network", network, *more, "busybox", "sleep", "100000", timeout=120, **kw)


def test_the_lan_gives_the_address(lan, kind, flags, name):
    run(flags, name, name, "--hostname", "web")
    at = place(name, name)
    assert at["IPAddress"].startswith("192.168.77.20") and at["IPPrefixLen"] == 24 and at["Gateway"] == ROUTER
    assert lan.server.given()[at["MacAddress"]] == (at["IPAddress"], "web")
    # Shown wherever addresses are, and true inside.
    assert at["IPAddress"] in proa("network", "addresses", name).out
    assert proa("ps", "--filter", f"name={name}", "--format", "{{.Networks}}").out.strip() == name
    assert f"inet {at['IPAddress']}/24 " in proa("exec", name, "ip", "-4", "addr", "show", "eth0").out
    assert f"default via {ROUTER} " in proa("exec", name, "ip", "route").out
    assert f"nameserver {ROUTER}\n" in proa("exec", name, "cat", "/etc/resolv.conf").out
    assert f"{at['IPAddress']}\tweb {name}\n" in proa("exec", name, "cat", "/etc/hosts").out
    until(lambda: lan.reaches(at["IPAddress"]))
    assert ping(name, ROUTER)
    # The same after a restart; given back at the end, and the next start wishes for it again.
    proa("restart", "-t", "0", name, timeout=120)
    assert place(name, name)["IPAddress"] == at["IPAddress"]
    until(lambda: lan.reaches(at["IPAddress"]))
    proa("stop", "-t", "0", name, timeout=60)
    assert not place(name, name)["IPAddress"]
    until(lambda: at["MacAddress"] not in lan.server.given())  # the server hears of it when it does
    assert not askers()
    proa("start", name, timeout=120)
    assert place(name, name)["IPAddress"] == at["IPAddress"]


@pytest.mark.parametrize("lan", ["bridge"], indirect=True)  # 40 s each, of which the link knows nothing
def test_renewals(lan, kind, flags, name, tmp_path):
    """Renewed in time; another address where the server wants that; none once nobody renews it."""
    lan.server.end()
    soon = ["--dhcp-option=option:T1,2", "--dhcp-option=option:T2,20"]  # seconds
    lan.server = Server(lan, tmp_path, "--dhcp-range=192.168.77.200,192.168.77.209,1h", *soon)
    run(flags, name, name)
    at = place(name, name)
    until(lambda: lan.server.said("DHCPACK", at["MacAddress"]) >= 2, timeout=30)
    assert place(name, name) == at and ping(name, ROUTER)
    lan.server.end()
    lan.server = Server(lan, tmp_path, "--dhcp-range=192.168.77.220,192.168.77.229,1h")
    now = until(lambda: place(name, name)["IPAddress"].startswith("192.168.77.22") and place(name, name), timeout=60)
    until(lambda: f"inet {now['IPAddress']}/24 " in proa("exec", name, "ip", "-4", "addr", "show", "eth0").out)
    assert at["IPAddress"] not in proa("exec", name, "ip", "-4", "addr", "show", "eth0").out
    assert f"default via {ROUTER} " in proa("exec", name, "ip", "route").out
    until(lambda: lan.reaches(now["IPAddress"]))
    assert ping(name, ROUTER) and not lan.reaches(at["IPAddress"])
    if kind == "container":
        hosts = proa("exec", name, "cat", "/etc/hosts").out
        assert now["IPAddress"] in hosts and at["IPAddress"] not in hosts


def test_killed_at_any_moment(lan, name):
    """Who asks is replaced when it is killed; with the monitor everything goes, and the address is the LAN's again."""
    run([], name, name)
    at = place(name, name)
    (asks,) = askers()
    os.kill(int(asks.split()[1]), 9)
    until(lambda: askers() and askers() != [asks])
    assert place(name, name) == at and ping(name, ROUTER)
    with open(f"/proc/{askers()[0].split()[1]}/status") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    assert status["Uid"].split() == ["2000000055"] * 4 and int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2" and status["Groups"].strip() == ""
    before = lan.server.said("DHCPDISCOVER", at["MacAddress"])
    until(lambda: lan.server.said("DHCPDISCOVER", at["MacAddress"]) >= before and at["MacAddress"] in lan.server.given())
    with open(f"/proc/{inspect(name)['State']['Pid']}/stat") as f:
        monitor = int(f.read().rsplit(")", 1)[1].split()[1])
    os.kill(monitor, 9)
    until(lambda: not askers() and at["MacAddress"] not in lan.server.given())
    proa("start", name)  # and says that it had been killed
    assert place(name, name)["IPAddress"] == at["IPAddress"]


def test_joined_and_left_while_it_runs(lan, name):
    proa("run", "-d", "--name", name, "busybox", "sleep", "100000")
    proa("network", "connect", name, name)
    at = place(name, name)
    until(lambda: lan.reaches(at["IPAddress"]))
    (asks,) = askers()
    given = lan.server.said("DHCPACK", at["MacAddress"])
    os.kill(int(asks.split()[1]), 9)  # its monitor has it, too
    until(lambda: askers() and askers() != [asks])
    until(lambda: lan.server.said("DHCPACK", at["MacAddress"]) > given)  # only who has it can give it back
    assert lan.server.given()[at["MacAddress"]][0] == at["IPAddress"]
    proa("network", "disconnect", name, name)
    until(lambda: at["MacAddress"] not in lan.server.given() and not askers())
    assert at["IPAddress"] not in proa("exec", name, "cat", "/etc/hosts").out
    assert not lan.reaches(at["IPAddress"])


@pytest.mark.vm
@pytest.mark.parametrize("lan", ["bridge"], indirect=True)
def test_a_light_machine_joins_it_at_its_start_only(lan, name):
    proa("run", "-d", "--vm", "--name", name, "busybox", "sleep", "100000", timeout=120)
    refuse("network", "connect", name, name, rc=1, say=["its LAN gives the addresses", "stop it first"])
    assert list(inspect(name)["NetworkSettings"]["Networks"]) == ["proa"] and not askers()
    assert not [line for line in proa("network", "addresses", name).lines if "proa" in line.split()]
    proa("stop", "-t", "0", name, timeout=60)
    proa("network", "connect", name, name)


def test_a_lan_that_does_not_answer(lan, name):
    lan.server.end()
    start = time.monotonic()
    refuse("run", "-d", "--name", name, "--network", name, "busybox", "true", rc=None, say="no DHCP server of the LAN")
    assert 15 < time.monotonic() - start < 60 and not askers()
    refuse("run", "--rm", "--network", f"{name}:ip=192.168.77.9", "busybox", "true", rc=None, say="no subnet")


@pytest.mark.parametrize("lan", ["bridge"], indirect=True)  # what is on a macvlan does not pass this host
def test_only_what_was_given_is_sent(lan, name):
    """Before it has an address a port asks for one and says nothing else; then it sends with that one."""
    run([], name, name, "--cap-add", "NET_ADMIN")
    at = place(name, name)
    proa("exec", name, "ip", "addr", "add", "192.168.77.51/24", "dev", "eth0")
    assert lan.reaches(at["IPAddress"]) and not lan.reaches("192.168.77.51")
    forged = [f for f in map(json.loads, proa("flows", "--format", "json").lines) if f["Verdict"] == "forged" and f["From"] == name]
    assert forged
