"""Frames that a hostile instance of either kind puts together itself: they go nowhere and are seen in `proa flows`; and honest
fragments, which arrive."""

import json
import os
import socket
import struct
import subprocess
import sys

import pytest

from cli import BUILD, inspect, proa, until
from test_flows import WATCH

SENDER = os.path.join(BUILD, "tests/integration/sender")
MAGIC = b"HOSTILE!"


def checksum(b):
    n = sum(struct.unpack(f"!{len(b) // 2}H", b))
    while n >> 16:
        n = (n & 0xffff) + (n >> 16)
    return ~n & 0xffff


class Place:
    def __init__(self, name):
        at = next(iter(inspect(name)["NetworkSettings"]["Networks"].values()))
        self.case = None
        self.ip, self.mac = at["IPAddress"], bytes.fromhex(at["MacAddress"].replace(":", ""))


def packet(me, to, payload, proto=17, frag=0, options=b""):
    """A frame of me's to the other; the pieces of one case have one number, and no other case has it."""
    ident = CASES.index(to.case)
    h = struct.pack("!BBHHHBBH4s4s", 0x40 | (5 + len(options) // 4), 0, 20 + len(options) + len(payload), ident, frag, 64, proto, 0,
                    socket.inet_aton(me.ip), socket.inet_aton(to.ip)) + options
    return to.mac + me.mac + b"\x08\x00" + h[:10] + struct.pack("!H", checksum(h)) + h[12:] + payload


def udp(data, port=80):
    return struct.pack("!HHHH", 4000, port, 8 + len(data), 0) + data


def frames(case, me, to):
    if case == "no attack":
        return [packet(me, to, udp(MAGIC))]
    if case == "tiny fragments":
        tcp = struct.pack("!HHIIBBHHH", 5000, 80, 1, 0, 0x50, 2, 1000, 0, 0) + MAGIC
        return [packet(me, to, tcp[:8], 6, 0x2000), packet(me, to, tcp[8:], 6, 1)]
    if case == "over a header":
        return [packet(me, to, udp(bytes(400), 9), frag=0x2000), packet(me, to, udp(MAGIC) + bytes(400), frag=1)]
    if case == "a fragment alone":
        return [packet(me, to, MAGIC * 9, frag=60)]
    if case == "a TCP fragment alone":
        return [packet(me, to, MAGIC * 9, 6, frag=60)]
    if case == "loose source route":
        return [packet(me, to, udp(MAGIC), options=bytes([131, 7, 4]) + socket.inet_aton(to.ip) + b"\0")]
    if case == "strict source route":
        return [packet(me, to, udp(MAGIC), options=bytes([137, 7, 4]) + socket.inet_aton(to.ip) + b"\0")]
    if case == "overlapping":
        whole = udp(MAGIC * 100)
        return [packet(me, to, whole[at:end], frag=at // 8 | (0x2000 if end < 808 else 0)) for at, end in ((0, 400), (200, 600), (600, 808))]
    assert case == "a VLAN tag"
    inner = packet(me, to, udp(MAGIC))
    return [inner[:12] + struct.pack("!HH", 0x8100, 1) + inner[12:]]


CASES = ["no attack", "overlapping", "tiny fragments", "over a header", "a fragment alone", "a TCP fragment alone", "loose source route",
         "strict source route", "a VLAN tag"]
SEEN = CASES[2:]  # what overlaps, the kernel throws away when it puts it together, and says nothing


@pytest.fixture(scope="module")
def pair(box):
    """(an instance of each kind that may send what it likes, a container beside it, which it may talk to)."""
    other, hostile = box + "-victim", box + "-hostile"
    kind = ["--vm"] if inspect(box)["Kind"] == "vm" else []
    proa("run", "-d", "--name", other, "busybox", "sleep", "100000")
    proa("run", "-d", *kind, "--cap-add", "NET_RAW", "--name", hostile, "busybox", "sleep", "100000", timeout=120)
    proa("cp", SENDER, hostile + ":/sender")
    yield hostile, other
    for one in (other, hostile):
        proa("rm", "-f", one, timeout=60)


def forged(name):
    return sum(int(f["Count"]) for f in map(json.loads, proa("flows", "--format", "json").lines) if f["Verdict"] == "forged" and f["From"] == name)


@pytest.mark.parametrize("case", CASES)
def test_a_frame_of_its_own_making(pair, case):
    hostile, other = pair
    me, to = Place(hostile), Place(other)
    to.case = case
    before = forged(hostile)
    pid = inspect(other)["State"]["Pid"]
    with subprocess.Popen(["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", WATCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as watch:
        assert watch.stdout.readline() == "up\n"
        lines = "".join(f.hex() + "\n" for f in frames(case, me, to))
        proa("exec", "-i", hostile, "/sender", "frames", "eth0", input=lines * 2)
        if case in SEEN:
            until(lambda: forged(hostile) > before)
        if case == "no attack":
            assert watch.stdout.readline() == "came\n"
        assert watch.communicate(input="")[0] == ""
    assert case in SEEN or forged(hostile) == before


def test_honest_fragments_arrive(pair):
    hostile, other = pair
    for one, to in ((hostile, other), (other, hostile)):
        answer = proa("exec", one, "ping", "-c", "2", "-s", "7000", "-W", "3", Place(to).ip)
        assert "7008 bytes from" in answer.out
