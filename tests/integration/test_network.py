"""One network for both kinds: names, published ports, isolation, the network verbs, volumes' verbs."""

import re
import socket
import subprocess
import time
import urllib.request

import pytest

from cli import inspect, proa, refuse, until
from sandbox import INSIDE, OUTSIDE, outside

SERVE = "mkdir -p /www; echo page of $(hostname) >/www/index.html; exec httpd -f -p 80 -h /www"


def serve(name, *flags):
    proa("run", "-d", *flags, "--name", name, "--hostname", name, "busybox", "sh", "-c", SERVE, timeout=60)


def fetch(where, port=80):
    return ["wget", "-q", "-O", "-", f"http://{where}:{port}/"]


@pytest.fixture
def pair(name):
    """A server of each kind."""
    names = {"container": name, "vm": name + "m"}
    yield names
    proa("rm", "-f", *names.values(), check=False)


@pytest.mark.vm
def test_a_container_and_a_machine_meet_by_name(pair):
    """The heart of it: each kind fetches from the other, a third from both; published ports of both."""
    serve(pair["container"], "-p", "127.0.0.1:18081:80")
    serve(pair["vm"], "--vm", "-p", "0.0.0.0:18082:80/tcp")
    for kind, other in (("container", "vm"), ("vm", "container")):
        r = until(lambda: (lambda x: x if x.rc == 0 else None)(proa("exec", pair[kind], *fetch(pair[other]), check=False)))
        assert r.out == f"page of {pair[other]}\n"
    third = proa("run", "--rm", "busybox", "sh", "-c", " && ".join(" ".join(fetch(n)) for n in pair.values()))
    assert third.lines == [f"page of {n}" for n in pair.values()]
    # From the host, by loopback and by its own address; from the world outside.
    assert urllib.request.urlopen("http://127.0.0.1:18081/", timeout=5).read().decode() == f"page of {pair['container']}\n"
    assert urllib.request.urlopen("http://127.0.0.1:18082/", timeout=5).read().decode() == f"page of {pair['vm']}\n"
    assert outside("busybox", *fetch(INSIDE, 18082)).stdout == f"page of {pair['vm']}\n"
    # What is published on loopback only is not there for others.
    done = subprocess.run(["nsenter", "--net=/run/netns/outside", "busybox", *fetch(INSIDE, 18081)], capture_output=True)
    assert done.returncode != 0
    addresses = {inspect(n)["NetworkSettings"]["IPAddress"] for n in pair.values()}
    assert len(addresses) == 2
    assert len({a.rsplit(".", 1)[0] for a in addresses}) == 1


def test_a_name_is_gone_with_its_instance(name):
    serve(name)
    look = ("run", "--rm", "busybox", "nslookup", name)
    assert proa(*look).rc == 0
    proa("rm", "-f", name)
    assert proa(*look, check=False).rc != 0


def test_renamed_is_found_by_the_new_name(name):
    serve(name)
    proa("rename", name, name + "r")
    try:
        assert "page of" in proa("run", "--rm", "busybox", *fetch(name + "r")).out
    finally:
        proa("rm", "-f", name + "r")


def test_the_way_out_is_masqueraded(kind, flags):
    """An instance reaches the world, and the world sees the host's address."""
    p = subprocess.Popen(["nsenter", "--net=/run/netns/outside", "python3", "-c",
                          "import socket; s = socket.create_server(('0.0.0.0', 7000)); print('up', flush=True)\n"
                          "c, a = s.accept(); c.sendall(a[0].encode()); c.close()"], stdout=subprocess.PIPE)
    try:
        p.stdout.readline()
        r = proa("run", "--rm", *flags, "busybox", "sh", "-c", f"nc -w 3 {OUTSIDE} 7000 </dev/null", timeout=60)
        assert r.out == INSIDE
    finally:
        p.kill()
        p.wait()


def test_network_none_and_host():
    r = proa("run", "--rm", "--network", "none", "busybox", "sh", "-c", "ip -o link | wc -l; ip -o addr show lo | grep -c 127.0.0.1")
    assert r.lines[-1] == "1" and int(r.lines[0]) <= 4
    assert "eth0" not in proa("run", "--rm", "--network", "none", "busybox", "ip", "link").out
    assert "up0" in proa("run", "--rm", "--network", "host", "busybox", "ip", "link").out
    assert "Network is unreachable" in proa("run", "--rm", "--network", "none", "busybox", "ping", "-c1", "-W1", OUTSIDE, check=False).err


@pytest.mark.vm
def test_a_machine_without_network(name):
    """It has a card to join one with (test_network_cards.py), which is down and has no address."""
    r = proa("run", "--rm", "--vm", "--network", "none", "busybox", "sh", "-c", "ip -o addr; ip -o link show up", timeout=60)
    assert r.out and all(line.split()[1].rstrip(":") == "lo" for line in r.lines), r
    refuse("run", "--rm", "--vm", "--network", "host", "busybox", "true", say="host")


def test_network_verbs(name):
    net = name + "-net"
    ident = proa("network", "create", "--subnet", "10.77.3.0/24", "--label", "a=b", net).out.strip()
    assert re.fullmatch(r"[0-9a-f]{64}", ident)
    try:
        assert net in proa("network", "ls").out and "proa" in proa("network", "ls").out
        seen = proa("network", "inspect", net).json[0]
        assert seen["Id"] == ident and seen["IPAM"]["Config"][0]["Subnet"] == "10.77.3.0/24" and seen["Labels"] == {"a": "b"}
        proa("run", "-d", "--name", name, "--network", net, "--ip", "10.77.3.77", "busybox", "sleep", "1000")
        assert "10.77.3.77" in proa("exec", name, "ip", "addr").out
        assert name in str(proa("network", "inspect", net).json[0]["Containers"])
        refuse("network", "rm", net, rc=1)
        refuse("network", "create", net, rc=1, say="exists")
        refuse("network", "create", "--subnet", "10.77.3.128/25", net + "2", rc=1, say="10.77.3")
        # Another network's instances are out of reach.
        r = proa("run", "--rm", "busybox", "ping", "-c", "1", "-W", "1", "10.77.3.77", check=False)
        assert r.rc != 0
        assert proa("run", "--rm", "busybox", "nslookup", name, check=False).rc != 0
        assert proa("run", "--rm", "--network", net, "busybox", "ping", "-c", "1", "-W", "2", name).rc == 0
        proa("rm", "-f", name)
    finally:
        proa("rm", "-f", name, check=False)
        proa("network", "rm", net)
    refuse("network", "inspect", net, rc=1)
    refuse("network", "rm", "proa", rc=1)
    for bad in ("x/y", "", "none", "host"):
        refuse("network", "create", bad, rc=None)
    for bad in ("10.0.0.0/99", "10.0.0.0", "hello", "300.0.0.0/8", "10.0.0.0/31"):
        refuse("network", "create", "--subnet", bad, name, rc=None)


def test_internal_network_has_no_way_out(name):
    proa("network", "create", "--internal", name)
    try:
        assert proa("run", "--rm", "--network", name, "busybox", "ping", "-c", "1", "-W", "1", OUTSIDE, check=False).rc != 0
    finally:
        proa("network", "rm", name)


def test_a_port_in_use_is_refused(name):
    with socket.socket() as s:
        s.bind(("0.0.0.0", 18090))
        s.listen()
        refuse("run", "-d", "--name", name, "-p", "18090:80", "busybox", "sleep", "1000", say="18090")
    proa("rm", "-f", name, check=False)
    proa("run", "-d", "--name", name, "-p", "18090:80", "busybox", "sleep", "1000")
    refuse("run", "--rm", "-p", "18090:80", "busybox", "true", say="18090")
    proa("rm", "-f", name)


def test_udp_and_automatic_ports(name, web):
    listen = 'use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => 9, Proto => "udp"); $s->recv($d, 9); print $d'
    proa("run", "-d", "--name", name, "-p", "18091:9/udp", "-p", "80", web, "perl", "-e", listen)
    chosen = inspect(name)["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]
    assert 1024 <= int(chosen) <= 65535

    def sent():
        outside("python3", "-c", f"import socket; socket.socket(2, 2).sendto(b'hi', ('{INSIDE}', 18091))")
        return "hi" in proa("logs", name).out
    until(sent)
    proa("rm", "-f", name)


def test_foreign_rules_are_left_alone(name):
    subprocess.run(["nft", "add", "table", "inet", "others"], check=True)
    try:
        subprocess.run(["nft", "add", "chain", "inet", "others", "c"], check=True)
        proa("run", "-d", "--name", name, "-p", "18092:80", "busybox", "sleep", "1000")
        tables = set(subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout.splitlines())
        # Another test's instance on a LAN has brought the fifth.
        assert tables - {"table netdev proa"} == {"table bridge proa", "table inet others", "table inet proa", "table inet proa-policy"}
        proa("rm", "-f", name)
        assert "chain c" in subprocess.run(["nft", "list", "table", "inet", "others"], capture_output=True, text=True).stdout
    finally:
        subprocess.run(["nft", "delete", "table", "inet", "others"], check=True)


def test_files_of_the_network(box):
    assert box in proa("exec", box, "cat", "/etc/hosts").out or proa("exec", box, "hostname").out.strip()[:12] in proa("exec", box, "cat", "/etc/hosts").out
    assert "nameserver" in proa("exec", box, "cat", "/etc/resolv.conf").out
    assert "127.0.0.1" in proa("exec", box, "cat", "/etc/hosts").out


def test_volume_verbs(name):
    assert proa("volume", "create", name).out.strip() == name
    try:
        assert name in proa("volume", "ls", "-q").lines
        assert proa("volume", "inspect", name).json[0]["Name"] == name
        proa("run", "--rm", "--network", "none", "-v", f"{name}:/d", "busybox", "sh", "-c", "echo x >/d/y")
        proa("create", "--name", name, "-v", f"{name}:/d", "busybox", "true")
        refuse("volume", "rm", name, rc=1)
        proa("rm", name)
    finally:
        proa("volume", "rm", name)
    refuse("volume", "rm", name, rc=1, say=name)
    refuse("volume", "create", "../x", rc=None)
    anonymous = proa("volume", "create").out.strip()
    assert re.fullmatch(r"[0-9a-f]{64}", anonymous)
    proa("volume", "rm", anonymous)


def test_anonymous_volumes_go_with_the_instance(name):
    before = proa("volume", "ls", "-q").lines
    proa("run", "--rm", "--network", "none", "-v", "/d", "busybox", "touch", "/d/x")
    assert proa("volume", "ls", "-q").lines == before
    proa("run", "--network", "none", "--name", name, "-v", "/d", "busybox", "touch", "/d/x")
    assert len(proa("volume", "ls", "-q").lines) == len(before) + 1
    proa("rm", "-v", name)
    assert proa("volume", "ls", "-q").lines == before


def test_many_instances_come_and_go_quickly(name):
    """Addresses are given once at a time and come back."""
    seen = set()
    start = time.monotonic()
    for _ in range(12):
        seen.add(proa("run", "--rm", "busybox", "sh", "-c", "ip -o -4 addr show eth0 | awk '{print $4}'").out)
    assert all(seen) and time.monotonic() - start < 30
