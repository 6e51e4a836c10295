"""What a hostile instance says of routers, addresses and VLANs on a network with IPv6, from its own addresses: nobody hears it,
and `proa flows` shows it. test_flows.py has the rest of what such an instance tries."""

import json
import subprocess
import sys

import pytest

from cli import inspect, proa, until
from test_flows import WATCH

SAY = r"""
import socket, struct, sys
case, mymac, own = sys.argv[1:4]
raw = bytes.fromhex(mymac.replace(":", ""))
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("eth0", 0))
MAGIC = b"HOSTILE!"
local = bytes.fromhex("fe80000000000000") + bytes([raw[0] ^ 2]) + raw[1:3] + b"\xff\xfe" + raw[3:]
everybody = socket.inet_pton(socket.AF_INET6, "ff02::1")

def checksum(b):
    n = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    while n >> 16:
        n = (n & 0xffff) + (n >> 16)
    return ~n & 0xffff

def icmp6(kind, rest, dst=everybody):
    body = struct.pack("!BBH", kind, 0, 0) + rest
    n = checksum(local + dst + struct.pack("!II", len(body), 58) + body)
    return body[:2] + struct.pack("!H", n) + body[4:]

def ip6(head, body, dst=everybody):
    return struct.pack("!IHBB", 0x60000000, len(body), head, 255) + local + dst + body

def say(kind, payload):
    s.send(bytes.fromhex("333300000001") + raw + struct.pack("!H", kind) + payload)

router = icmp6(134, struct.pack("!BBHII", 64, 0, 1800, 0, 0) + MAGIC)
options = bytes([58, 0, 1, 4, 0, 0, 0, 0])  # eight bytes of padding, ICMPv6 behind

def piece(head, offset, more, body):
    return ip6(44, struct.pack("!BBHI", head, 0, offset << 3 | more, 77) + body)

def server(sport, dport, dst):
    return struct.pack("!HHHH", sport, dport, 8 + len(MAGIC), 0) + MAGIC

if case == "router":
    say(0x86dd, ip6(58, router))
elif case == "router behind options":
    say(0x86dd, ip6(60, options + router))
elif case == "router in pieces":
    say(0x86dd, piece(60, 0, 1, options))
    say(0x86dd, piece(60, 1, 0, router))
elif case == "redirect":
    say(0x86dd, ip6(58, icmp6(137, bytes(4) + everybody + everybody + MAGIC)))
elif case in ("a route of its own", "a route of segments"):
    kind = 0 if case == "a route of its own" else 4
    say(0x86dd, ip6(43, struct.pack("!BBBBI", 17, 2, kind, 1, 0) + everybody + server(7, 7, everybody)))
elif case == "dhcpv6 server":
    say(0x86dd, ip6(17, server(547, 546, everybody)))
elif case == "dhcp server":
    udp = server(67, 68, None)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, socket.inet_aton(own), b"\xff" * 4)
    s.send(b"\xff" * 6 + raw + b"\x08\x00" + head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp)
elif case == "vlan":
    say(0x8100, struct.pack("!HH", 5, 0x86dd) + ip6(58, router))
elif case == "two vlans":
    say(0x88a8, struct.pack("!HHHH", 5, 0x8100, 6, 0x86dd) + ip6(58, router))
"""
CASES = ["router", "router behind options", "router in pieces", "redirect", "a route of its own", "a route of segments", "dhcpv6 server", "dhcp server", "vlan", "two vlans"]


@pytest.fixture(scope="module")
def spoofers(house):
    """(hostile, neighbour): two containers of one stack, which may talk to each other as they like."""
    proa("network", "create", "--ipv6", "spoof")
    for name in ("spoof-a", "spoof-b"):
        proa("run", "-d", "--name", name, "--network", "spoof", "busybox", "sleep", "100000")
    yield "spoof-a", "spoof-b"
    proa("rm", "-f", "spoof-a", "spoof-b", timeout=60)
    proa("network", "rm", "spoof")


def inside(name, code, *args):
    return ["nsenter", f"--net=/proc/{inspect(name)['State']['Pid']}/ns/net", sys.executable, "-c", code, *args]


def forged(name):
    return sum(int(f["Count"]) for f in map(json.loads, proa("flows", "--format", "json").lines) if f["Verdict"] == "forged" and f["From"] == name)


@pytest.mark.parametrize("case", CASES)
def test_nobody_hears(spoofers, case):
    hostile, neighbour = spoofers
    mine = inspect(hostile)["NetworkSettings"]["Networks"]["spoof"]
    before = forged(hostile)
    with subprocess.Popen(inside(neighbour, WATCH), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout.readline() == "up\n"
        for _ in range(3):
            subprocess.run(inside(hostile, SAY, case, mine["MacAddress"], mine["IPAddress"]), check=True)
        until(lambda: forged(hostile) > before)
        assert watch.communicate(input="")[0] == ""
    assert proa("exec", hostile, "ping", "-c", "1", "-W", "5", inspect(neighbour)["NetworkSettings"]["Networks"]["spoof"]["GlobalIPv6Address"]).rc == 0
