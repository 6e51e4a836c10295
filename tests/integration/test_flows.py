"""What is seen on the networks (flows, suggest, capture), and what a hostile instance tries."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys

import pytest

from cli import inspect, proa, refuse, start, until
from policy_documents import app, apply, network
from sandbox import INSIDE, OUTSIDE
from test_policy import name_of, nothing_stays, town  # noqa: F401 (fixtures)


def flows(*flags):
    return [json.loads(line) for line in proa("flows", "--format", "json", "--no-trunc", *flags).lines]


def ask(peers, who, *cases):
    peers[who].ask([list(c) for c in cases])
    return peers[who].answers()


def test_who_talked_to_whom(town):
    parties, peers = town
    apply(network("db", {"podSelector": app("db"), "ingress": [{"from": [{"podSelector": app("web")}], "ports": [{"port": 5432}]}]}))
    db = parties["db"]["address"]
    assert ask(peers, "web", ("tcp", db, 5432), ("tcp", db, 81), ("tcp", OUTSIDE, 443)) == [True, False, True]
    assert ask(peers, "shopweb", ("udp", db, 443)) == [False]
    assert ask(peers, "plain", ("tcp", INSIDE, 5432)) == [False]
    assert ask(peers, "world", ("tcp", INSIDE, 18180)) == [True]
    seen = {(f["Verdict"], f["From"], f["To"], f["Port"]): f for f in flows("--since", "1m")}
    assert seen["allowed", name_of("web"), name_of("db"), "5432/tcp"]["Rule"] == "NetworkPolicy default/db: ingress[0]"
    assert seen["denied", name_of("web"), name_of("db"), "81/tcp"]["Rule"] == "NetworkPolicy default/db: no ingress rule fits"
    assert seen["allowed", name_of("web"), OUTSIDE, "443/tcp"]["Rule"] == "default: out"
    assert ("denied", name_of("shopweb"), name_of("db"), "443/udp") in seen
    assert seen["denied", name_of("plain"), "host", "5432/tcp"]["Rule"] == "default: the host is not reached"
    assert seen["allowed", OUTSIDE, name_of("shopweb"), "80/tcp"]["Target"] == parties["shopweb"]["address"]
    assert "denied" in {f["Verdict"] for f in flows("--denied")} <= {"denied", "forged"}
    assert {f["To"] for f in flows("--from", name_of("plain"), "--to", "host")} == {"host"}
    assert all(f["From"] == OUTSIDE for f in flows("--from", "world", "--since", "1m"))
    assert "VERDICT" in proa("flows").lines[0]
    refuse("flows", "--since", "never", rc=1, say="never")


def test_flows_are_followed(town):
    parties, peers = town
    follower = start("flows", "-f", "--format", "{{.From}} {{.To}} {{.Port}}", "--from", name_of("plain"), "--to", name_of("web"),
                     stdout=subprocess.PIPE)
    try:
        def seen():
            ask(peers, "plain", ("tcp", parties["web"]["address"], 81))
            os.set_blocking(follower.stdout.fileno(), False)
            return f"{name_of('plain')} {name_of('web')} 81/tcp" in str(follower.stdout.read() or "")
        until(seen, timeout=20)
    finally:
        follower.kill()
        follower.wait()
        follower.stdout.close()


def test_a_policy_is_suggested(town):
    """What was seen since a moment is allowed by what is suggested, and nothing else is."""
    parties, peers = town
    proa("system", "prune", "-f", check=False)
    subprocess.run(["nft", "flush", "set", "inet", "proa-policy", "allowed4"], check=True)
    web, shop = parties["web"]["address"], parties["shopdb"]["address"]
    assert ask(peers, "plain", ("tcp", web, 80), ("udp", web, 443)) == [True, True]
    assert ask(peers, "shopweb", ("tcp", shop, 5432), ("tcp", OUTSIDE, 81)) == [True, True]
    assert ask(peers, "world", ("tcp", INSIDE, 18280)) == [True]
    text = proa("policy", "suggest", "--since", "10m").out
    assert text.count("kind") == 5
    proa("policy", "apply", "-", input=text)
    assert ask(peers, "plain", ("tcp", web, 80), ("udp", web, 443), ("tcp", web, 443)) == [True, True, False]
    assert ask(peers, "shopweb", ("tcp", shop, 5432), ("tcp", OUTSIDE, 81), ("tcp", OUTSIDE, 80)) == [True, True, False]
    assert ask(peers, "world", ("tcp", INSIDE, 18280), ("tcp", INSIDE, 18180)) == [True, False]


def allowed(**ends):
    return [f for f in flows("--since", "1m") if f["Verdict"] == "allowed" and all(f[k] == v for k, v in ends.items())]


def test_talk_with_the_host_is_seen_and_suggested(town):
    """What a policy lets an instance ask of the host; what the host asks; not that names were asked for."""
    parties, peers = town
    subprocess.run(["nft", "flush", "set", "inet", "proa-policy", "allowed4"], check=True)
    apply(network("out", {"podSelector": app("web"), "policyTypes": ["Egress"], "egress": [{"to": [{"nodes": {}}]}]}))
    proa("exec", name_of("web"), "nslookup", name_of("db"), check=False)
    assert ask(peers, "web", ("tcp", INSIDE, 5432)) == [True]
    assert ask(peers, "host", ("tcp", parties["db"]["address"], 81)) == [True]
    assert [f["Port"] for f in allowed(From=name_of("web"), To="host")] == ["5432/tcp"]
    assert [f["Port"] for f in allowed(From="host", To=name_of("db"))] == ["81/tcp"]
    text = proa("policy", "suggest", "--since", "1m").out
    assert '"nodes"' in text and "5432" in text and "81" not in text
    proa("policy", "rm", "default/out")
    assert ask(peers, "web", ("tcp", INSIDE, 5432)) == [False]
    proa("policy", "apply", "-", input=text)
    assert ask(peers, "web", ("tcp", INSIDE, 5432), ("tcp", INSIDE, 443)) == [True, False]


def test_an_address_changes_hands(town, name):
    """What the one before was seen to do is not the next one's, and no policy is made of it."""
    parties, peers = town
    subprocess.run(["nft", "flush", "set", "inet", "proa-policy", "allowed4"], check=True)
    fixed = ["run", "-d", "--name", name, "--network", "proa", "--ip"]
    proa("run", "-d", "--name", name, "busybox", "sleep", "1000")
    address = inspect(name)["NetworkSettings"]["IPAddress"]
    web = parties["web"]["address"]
    proa("exec", name, "sh", "-c", f"echo | nc -w 2 {web} 80", check=False)
    assert allowed(From=name, To=name_of("web"))
    proa("rm", "-f", name)
    gone, = allowed(To=name_of("web"), Port="80/tcp")
    assert gone["From"] == address and gone["Rule"] == "of an instance that is gone"
    proa(*fixed, address, "busybox", "sleep", "1000")
    assert not allowed(From=name) and allowed(From=address)
    assert address not in proa("policy", "suggest", "--since", "1m").out
    proa("exec", name, "sh", "-c", f"echo | nc -w 2 {web} 80", check=False)
    assert allowed(From=name, To=name_of("web"))


SCAN = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in range(1, 30000):
    try:
        s.sendto(b"x", (sys.argv[1], port))
    except OSError:  # the refusal of one before
        pass
"""
MAKE_UP = """
import os, socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
for _ in range(3000):
    s.send(os.urandom(6) + b"\\x02" + os.urandom(5) + b"\\x08\\x00" + bytes(50))
"""


def test_a_hostile_instance_does_not_hide_the_others(town):
    """One that fills what is kept is seen to do so; what its neighbours do is seen as before."""
    parties, peers = town
    shop = parties["shopdb"]["address"]
    try:
        subprocess.run(inside("web", SCAN, shop), check=True)
        subprocess.run(inside("web", MAKE_UP), check=True)
        seen = flows("--from", name_of("web"))
        assert sum(f["Verdict"] == "denied" for f in seen) < 5000 and sum(f["Verdict"] == "forged" for f in seen) < 700
        assert {f["Verdict"]: f["Rule"] for f in seen if f["To"] == "*" and f["Verdict"] != "limited"} == dict.fromkeys(("denied", "forged"), "more than is kept: only counted")
        assert ask(peers, "plain", ("udp", shop, 443), ("tcp", shop, 81)) == [False, False]
        assert {f["Port"] for f in flows("--denied", "--from", name_of("plain"), "--to", name_of("shopdb"))} >= {"443/udp", "81/tcp"}
    finally:
        for kind in ("", "new", "more"):
            subprocess.run(["nft", "flush", "set", "inet", "proa-policy", f"denied{kind}4"], check=True)
            subprocess.run(["nft", "flush", "set", "bridge", "proa", "refused" + kind], check=True)


def test_capture(town, tmp_path):
    parties, peers = town
    out = tmp_path / "a.pcap"
    p = start("capture", "-w", out, "-c", "3", name_of("web"))
    until(lambda: out.exists() and out.stat().st_size >= 24)
    until(lambda: ask(peers, "plain", ("tcp", parties["web"]["address"], 80)) and p.poll() is not None)
    assert p.returncode == 0
    data = out.read_bytes()
    magic, major, minor, _, _, _, kind = struct.unpack("=IHHIIII", data[:24])
    assert (magic, major, minor, kind) == (0xa1b23c4d, 2, 4, 1)
    at, packets = 24, []
    while at < len(data):
        captured, length = struct.unpack("=8xII", data[at:at + 16])
        assert captured == length
        packets.append(data[at + 16:at + 16 + captured])
        at += 16 + captured
    assert len(packets) == 3
    assert socket.inet_aton(parties["web"]["address"]) in b"".join(packets)
    # Interrupted, what was written is whole.
    p = start("capture", name_of("web"), stdout=subprocess.PIPE)
    head = p.stdout.read(24)
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=10)
    assert p.returncode == 0 and len(head) == 24
    refuse("capture", "nobody-such", rc=1, say="nobody-such")


# --- a hostile instance: the root of its network namespace, with every capability ---

ATTACK = r"""
import json, socket, struct, sys
case, me, mymac, victim, victimmac, gateway, gatewaymac = sys.argv[1:8]
mac = lambda m: bytes.fromhex(m.replace(":", ""))
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("eth0", 0))
MAGIC = b"HOSTILE!"

def checksum(b):
    n = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    while n >> 16:
        n = (n & 0xffff) + (n >> 16)
    return ~n & 0xffff

def ip(src, dst, proto, payload, options=b"", frag=0, ident=7):
    h = struct.pack("!BBHHHBBH4s4s", 0x40 | (5 + len(options) // 4), 0, 20 + len(options) + len(payload), ident, frag, 64, proto, 0,
                    socket.inet_aton(src), socket.inet_aton(dst)) + options
    return h[:10] + struct.pack("!H", checksum(h)) + h[12:] + payload

def udp(port, data=MAGIC, sport=4000):
    return struct.pack("!HHHH", sport, port, 8 + len(data), 0) + data

def frame(dst, src, kind, payload):
    s.send(mac(dst) + mac(src) + struct.pack("!H", kind) + payload)

def arp(op, sha, spa, tha, tpa, as_mac):
    frame("ff:ff:ff:ff:ff:ff", as_mac, 0x806, struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, op, mac(sha), socket.inet_aton(spa),
                                                          mac(tha), socket.inet_aton(tpa)) + MAGIC)

if case == "another address":
    frame(victimmac, mymac, 0x800, ip("10.99.99.99", victim, 17, udp(80)))
elif case == "the gateway's address":
    frame(victimmac, mymac, 0x800, ip(gateway, victim, 17, udp(80)))
elif case == "another hardware address":
    frame(victimmac, gatewaymac, 0x800, ip(me, victim, 17, udp(80)))
elif case == "arp for the gateway":
    arp(2, mymac, gateway, victimmac, victim, mymac)
elif case == "arp from another":
    arp(2, gatewaymac, me, victimmac, victim, gatewaymac)
elif case == "a router's advertisement":
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + MAGIC
    src, dst = socket.inet_pton(socket.AF_INET6, "fe80::1"), socket.inet_pton(socket.AF_INET6, "ff02::1")
    frame("33:33:00:00:00:01", mymac, 0x86dd, struct.pack("!IHBB", 0x60000000, len(body), 58, 255) + src + dst + body)
elif case == "a vlan tag":
    frame(victimmac, mymac, 0x8100, struct.pack("!HH", 1, 0x800) + ip(me, victim, 17, udp(80)))
elif case == "a dhcp server":
    frame("ff:ff:ff:ff:ff:ff", mymac, 0x800, ip(me, "255.255.255.255", 17, udp(68, sport=67)))
elif case == "fragments":
    whole = udp(80, MAGIC * 80)
    frame(victimmac, mymac, 0x800, ip(me, victim, 17, whole[:400], frag=0x2000))
    frame(victimmac, mymac, 0x800, ip(me, victim, 17, whole[400:], frag=50))
elif case == "tiny fragments":
    tcp = struct.pack("!HHIIBBHHH", 5000, 80, 1, 0, 0x50, 2, 1000, 0, 0) + MAGIC
    frame(victimmac, mymac, 0x800, ip(me, victim, 6, tcp[:8], frag=0x2000, ident=8))
    frame(victimmac, mymac, 0x800, ip(me, victim, 6, tcp[8:], frag=1, ident=8))
elif case == "a fragment over another's header":
    whole = udp(9, bytes(400))
    frame(victimmac, mymac, 0x800, ip(me, victim, 17, whole, frag=0x2000, ident=10))
    frame(victimmac, mymac, 0x800, ip(me, victim, 17, udp(80) + bytes(400), frag=1, ident=10))
elif case == "overlapping fragments":
    whole = udp(80, MAGIC * 100)
    for at, end in ((0, 400), (200, 600), (600, 808)):
        frame(victimmac, mymac, 0x800, ip(me, victim, 17, whole[at:end], frag=at // 8 | (0x2000 if end < 808 else 0), ident=11))
elif case == "a fragment alone":
    frame(victimmac, mymac, 0x800, ip(me, victim, 17, MAGIC * 3, frag=60, ident=9))
elif case == "a fragmented answer to nothing":
    tcp = struct.pack("!HHIIBBHHH", 80, 5001, 1, 1, 0x50, 0x12, 1000, 0, 0) + MAGIC * 60
    frame(victimmac, mymac, 0x800, ip(me, victim, 6, tcp[:400], frag=0x2000, ident=12))
    frame(victimmac, mymac, 0x800, ip(me, victim, 6, tcp[400:], frag=50, ident=12))
elif case == "source routing":
    route = bytes([131, 7, 4]) + socket.inet_aton(victim) + b"\x00"
    frame(gatewaymac, mymac, 0x800, ip(me, gateway, 17, udp(80), options=bytes([137]) + route[1:]))
    frame(gatewaymac, mymac, 0x800, ip(me, gateway, 17, udp(80), options=route))
elif case == "an answer to nothing":
    tcp = struct.pack("!HHIIBBHHH", 80, 5000, 1, 1, 0x50, 0x12, 1000, 0, 0)
    frame(victimmac, mymac, 0x800, ip(me, victim, 6, tcp + MAGIC))
elif case == "an error about nothing":
    inner = ip(victim, me, 17, udp(9))
    body = struct.pack("!BBHI", 3, 4, 0, 576) + inner[:28] + MAGIC
    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    frame(victimmac, mymac, 0x800, ip(me, victim, 1, body))
elif case == "straight to the other's door":
    frame(victimmac, mymac, 0x800, ip(me, victim, 17, udp(80)))
"""
WATCH = """
import select, socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("eth0", 0))
print("up", flush=True)
while True:
    if select.select([s, sys.stdin], [], [])[0][0] is sys.stdin:
        break
    if b"HOSTILE!" in s.recv(65536):
        print("came", flush=True)
        break
"""
# What is noted: forged by the bridge's rules, or denied by a policy's; None: the kernel throws it away when it is put together.
ATTACKS = {
    "another address": "forged", "the gateway's address": "forged", "another hardware address": "forged",
    "arp for the gateway": "forged", "arp from another": "forged", "a router's advertisement": "forged",
    "a vlan tag": "forged", "a dhcp server": "forged", "fragments": "denied", "tiny fragments": "forged",
    "a fragment over another's header": "forged", "overlapping fragments": None, "a fragment alone": "forged",
    "a fragmented answer to nothing": "denied", "source routing": "forged", "an answer to nothing": "denied", "an error about nothing": "denied",
    "straight to the other's door": "denied",
}


def inside(person, code, *args):
    pid = inspect(name_of(person))["State"]["Pid"]
    return ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", code, *map(str, args)]


def mac_of(person):
    seen = inspect(name_of(person))["NetworkSettings"]["Networks"]
    return next(iter(seen.values()))["MacAddress"]


def counted(verdict):
    return sum(int(f["Count"]) for f in flows() if f["Verdict"] == verdict and f["From"] == name_of("web"))


@pytest.mark.parametrize("case", ATTACKS)
def test_a_hostile_instance(town, case):
    """web (of the default stack) against shopdb, which it may not reach."""
    parties, _ = town
    links = json.loads(subprocess.run(["ip", "-j", "addr"], capture_output=True, text=True, check=True).stdout)
    gateway_mac = next(x["address"] for x in links for a in x["addr_info"] if a.get("local") == parties["web"]["gateway"])
    before = {v: counted(v) for v in ("forged", "denied")}
    watch = subprocess.Popen(inside("shopdb", WATCH), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert watch.stdout.readline() == "up\n"
        for _ in range(3):
            subprocess.run(inside("web", ATTACK, case, parties["web"]["address"], mac_of("web"), parties["shopdb"]["address"],
                                  mac_of("shopdb"), parties["web"]["gateway"], gateway_mac), check=True)
        if ATTACKS[case]:
            until(lambda: counted(ATTACKS[case]) > before[ATTACKS[case]])
        assert watch.communicate(input="")[0] == ""
    finally:
        watch.kill()
        watch.wait()
