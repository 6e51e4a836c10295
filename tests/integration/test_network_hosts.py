"""A network that spans two hosts: namespaces with a wire between them, each with a store of its own."""

import json
import shutil
import subprocess

import pytest

from cli import PROA, command, proa, refuse, until
from sandbox import INSIDE, OUTSIDE


@pytest.fixture
def hosts(name, busybox_layer, tmp_path):
    """Two hosts' proa: this one, and one in the namespace of the other end of the wire."""
    root = tmp_path / "other"

    def there(*args, **kw):
        return command(["nsenter", "--net=/run/netns/outside", PROA, "--root", root, *args], **kw)
    there("import", "-", "busybox:latest", input=busybox_layer, binary=True)
    made = []
    for run, peer, part in ((proa, OUTSIDE, "10.77.20.0/25"), (there, INSIDE, "10.77.20.128/25")):
        run("network", "create", "--subnet", "10.77.20.0/24", "--ip-range", part, "--vxlan-id", "42", "--peer", peer, name)
        run("run", "-d", "--name", name, "--network", name, "busybox", "sleep", "1000")
        made.append(run)
    yield made
    for run in made:
        run("rm", "-f", name, check=False)
        run("network", "rm", name)
    there("system", "prune", "--force")
    shutil.rmtree(root)


def address(run, name):
    return json.loads(run("inspect", name).out)[0]["NetworkSettings"]["Networks"][name]["IPAddress"]


def ping(run, name, where):
    return run("exec", name, "ping", "-c", "1", "-W", "2", where, check=False).rc == 0


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
    finally:
        subprocess.run([*ns, "ip", "addr", "del", f"{other}/24", "dev", link], check=True)


def test_what_a_tunnel_needs(name):
    common = ["--subnet", "10.77.20.0/24", "--ip-range", "10.77.20.0/25"]
    for flags, say in (([*common, "--vxlan-id", "42"], "addresses of the other hosts"), (["--peer", "10.0.0.1"], "--vxlan-id"),
                       (["--vxlan-id", "42", "--peer", "10.0.0.1"], "--ip-range"), ([*common, "--vxlan-id", "16777216", "--peer", "10.0.0.1"], "at most"),
                       ([*common, "--vxlan-id", "42", "--peer", "there"], "is not an IPv4 address"),
                       (["--subnet", "10.77.20.0/24", "--ip-range", "10.77.21.0/25"], "is not in subnet")):
        refuse("network", "create", *flags, name, rc=1, say=say)
