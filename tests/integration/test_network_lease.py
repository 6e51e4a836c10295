"""Machines that ask for their address: DHCP, DHCPv6 and router advertisements, by clients that are not ours. The machine of
each test stands still, and a namespace with its hardware address asks in its place."""

import json
import os
import re
import subprocess
import uuid

import pytest

from cli import inspect, proa, until

pytestmark = pytest.mark.vm

# One question for each (source, hardware address it speaks of); the last is answered. Prints who was answered.
ASK = """
import socket, struct, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)); s.bind(('eth0', 0)); s.settimeout(10)
def raw(mac): return bytes.fromhex(mac.replace(':', ''))
def ask(source, chaddr):
    body = bytes([1, 1, 6, 0]) + raw(chaddr)[2:] + bytes([0, 0, 128, 0]) + bytes(16) + raw(chaddr) + bytes(202) + bytes([99, 130, 83, 99, 53, 1, 1, 255])
    udp = struct.pack('!HHHH', 68, 67, 8 + len(body), 0) + body
    ip = bytearray(struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(4), b'\\xff' * 4))
    n = sum(struct.unpack('!10H', ip)); n = (n & 0xffff) + (n >> 16); ip[10:12] = struct.pack('!H', ~n & 0xffff)
    s.send(b'\\xff' * 6 + raw(source) + b'\\x08\\x00' + bytes(ip) + udp)
cases = [c.split(',') for c in sys.argv[1:]]
for source, chaddr in cases: ask(source, chaddr)
while True:
    frame = s.recv(2000)
    if frame[23] == 17 and frame[34:38] == b'\\x00\\x43\\x00\\x44':
        mac = ':'.join('%02x' % b for b in frame[70:76])
        print(mac, flush=True)
        if mac == cases[-1][1]: break
"""


def sh(*argv, **kw):
    return subprocess.run(argv, check=True, text=True, capture_output=True, stdin=subprocess.DEVNULL, **kw).stdout


class Client:
    """A namespace on the network's bridge, by a link that is no port of Proa's."""

    def __init__(self, bridge, mac):
        self.name, self.link = "c" + uuid.uuid4().hex[:6], "x" + uuid.uuid4().hex[:6]
        sh("ip", "netns", "add", self.name)
        sh("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.name, "address", mac)
        sh("ip", "link", "set", self.link, "master", bridge, "up")

    def __call__(self, *argv, **kw):
        return sh("nsenter", f"--net=/run/netns/{self.name}", *argv, **kw)

    def end(self):
        sh("ip", "netns", "del", self.name)
        subprocess.run(["ip", "link", "del", self.link], capture_output=True)


@pytest.fixture
def place(name):
    """(settings of a machine on a network of its own, and who asks for it)."""
    proa("network", "create", "--ipv6", "--opt", "mtu=1400", name)
    proa("run", "-d", "--vm", "--network", name, "--name", name, "--hostname", "asks", "busybox", "sleep", "100000", timeout=120)
    proa("pause", name)
    settings = inspect(name)["NetworkSettings"]["Networks"][name]
    client = Client("proa-" + settings["NetworkID"][:10], settings["MacAddress"])
    yield settings, client
    client.end()
    proa("unpause", name, check=False)
    proa("rm", "-f", name, timeout=60)
    proa("network", "rm", name)


def dhclient(client, tmp_path, family, wanted, known=""):
    """What a client has written once `wanted` is in it."""
    leases = tmp_path / "leases"
    leases.write_text(known)
    with subprocess.Popen(["nsenter", f"--net=/run/netns/{client.name}", "dhclient", "-d", family, "-sf", "/bin/true", "-lf", str(leases),
                           "--no-pid", "-cf", "/dev/null", "eth0"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
        try:
            until(lambda: wanted in leases.read_text()[len(known):], timeout=30, message=lambda: leases.read_text())
        finally:
            p.kill()
    return leases.read_text()[len(known):]


def test_what_a_machine_is_told(place, tmp_path, name):
    settings, client = place
    client("sysctl", "-q", "-w", "net.ipv6.conf.eth0.accept_ra=1", "net.ipv6.conf.eth0.accept_dad=0")
    client("ip", "link", "set", "eth0", "up")
    # The router, by its advertisement: where it is, and that no address is to be made up.
    routes = until(lambda: [r for r in json.loads(client("ip", "-6", "-j", "route")) if r["dst"] == "default"], timeout=30)
    assert routes[0]["gateway"].startswith("fe80::50:") and routes[0]["protocol"] == "ra"
    addresses = json.loads(client("ip", "-6", "-j", "addr", "show", "dev", "eth0"))[0]
    assert {a["scope"] for a in addresses["addr_info"]} == {"link"}
    assert client("cat", "/proc/sys/net/ipv6/conf/eth0/mtu") == "1400\n"
    text = dhclient(client, tmp_path, "-4", "}")
    assert f"fixed-address {settings['IPAddress']};" in text and f"routers {settings['Gateway']};" in text
    assert f"domain-name-servers {settings['Gateway']};" in text and f"dhcp-server-identifier {settings['Gateway']};" in text
    assert "subnet-mask 255.255.255.0;" in text and "interface-mtu 1400;" in text and 'host-name "asks";' in text
    assert f"iaaddr {settings['GlobalIPv6Address']} " in dhclient(client, tmp_path, "-6", "}")
    # An address that is not its own is refused, and then it gets its own.
    wrong = re.sub(r"fixed-address [^;]*", "fixed-address 10.1.2.3", text)
    assert f"fixed-address {settings['IPAddress']};" in dhclient(client, tmp_path, "-4", "}", wrong)


def test_nobody_elses(place, name):
    """Who has no place, and who speaks of another's, hears nothing; what answers has no privilege."""
    settings, client = place
    mine, other = settings["MacAddress"], "02:51:66:66:66:66"
    client("ip", "link", "set", "eth0", "up")
    told = client("python3", "-c", ASK, f"{other},{other}", f"{other},{mine}", f"{mine},{other}", f"{mine},{mine}", timeout=60)
    assert told == mine + "\n"
    pids = [p for p in os.listdir("/proc") if p.isdigit() and b"proa-lease:" + settings["NetworkID"][:16].encode() in cmdline(p)]
    assert len(pids) == 1
    with open(f"/proc/{pids[0]}/status") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    assert status["Uid"].split() == ["2000000054"] * 4 and int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2" and status["Groups"].strip() == ""
    # One that was killed is there again with the next machine.
    os.kill(int(pids[0]), 9)
    proa("unpause", name)
    proa("restart", "-t", "0", name, timeout=120)
    proa("pause", name)
    assert client("python3", "-c", ASK, f"{mine},{mine}", timeout=60) == mine + "\n"


def cmdline(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read()
    except OSError:
        return b""
