"""Published ports: every protocol, either family, from everywhere, with the client's own address."""

import re
import socket
import struct
import subprocess

import pytest

from cli import inspect, proa, refuse, until
from sandbox import INSIDE, OUTSIDE

OUTSIDE6, INSIDE6 = "fd99::9", "fd99::1"


@pytest.fixture
def six():
    """IPv6 addresses on the wire to the outside."""
    for prefix, address, link in ((["ip"], INSIDE6, "up0"), (["nsenter", "--net=/run/netns/outside", "ip"], OUTSIDE6, None)):
        if link is None:
            out = subprocess.run([*prefix, "-o", "-4", "addr"], capture_output=True, text=True, check=True).stdout
            link = re.search(rf"\d+: (\S+?)\s+inet {re.escape(OUTSIDE)}", out)[1]
        subprocess.run([*prefix, "addr", "add", f"{address}/64", "dev", link, "nodad"], check=True)
    yield
    subprocess.run(["ip", "addr", "del", f"{INSIDE6}/64", "dev", "up0"], check=True)
    subprocess.run(["nsenter", "--net=/run/netns/outside", "ip", "addr", "del", f"{OUTSIDE6}/64", "dev", link], check=True)


@pytest.fixture
def net(name):
    proa("network", "create", "--ipv6", name + "-n")
    yield name + "-n"
    proa("rm", "-f", name, name + "x", check=False)
    proa("network", "rm", name + "-n")


def get(host, port, prefix=()):
    """Who the server says is asking; "" when nobody answers."""
    host = f"[{host}]" if ":" in host else host
    r = subprocess.run([*prefix, "python3", "-c", "import urllib.request\n"
                        f"print(urllib.request.urlopen('http://{host}:{port}/cgi-bin/who', timeout=3).read().decode())"],
                       capture_output=True, text=True)
    return r.stdout.strip()


WHO = "mkdir -p /www/cgi-bin; printf '#!/bin/sh\\necho\\necho $REMOTE_ADDR\\n' >/www/cgi-bin/who; chmod +x /www/cgi-bin/who; exec httpd -f -p 80 -h /www"
OUT = ("nsenter", "--net=/run/netns/outside")


def plain(address):
    return address.strip("[]").replace("::ffff:", "")


def test_both_families_from_everywhere(kind, flags, name, net, six):
    proa("run", "-d", *flags, "--name", name, "--network", net, "-p", "18200:80", "busybox", "sh", "-c", WHO, timeout=90)
    place = inspect(name)["NetworkSettings"]["Networks"][net]
    until(lambda: get("127.0.0.1", 18200))
    # From outside with the client's own address; from the host by loopback and by its own address.
    assert plain(get(INSIDE, 18200, OUT)) == OUTSIDE
    assert plain(get(INSIDE6, 18200, OUT)) == OUTSIDE6
    assert get("127.0.0.1", 18200) and get(INSIDE, 18200) and get(INSIDE6, 18200)
    # Hairpin: the instance itself, and a neighbour, by the host's address.
    script = "; ".join(f"wget -q -O - http://{h}:18200/cgi-bin/who" for h in (INSIDE, f"[{INSIDE6}]"))
    assert len(proa("exec", name, "sh", "-c", script).lines) == 2
    assert len(proa("run", "--rm", "--network", net, "busybox", "sh", "-c", script).lines) == 2
    assert len(proa("run", "--rm", "busybox", "wget", "-q", "-O", "-", f"http://{INSIDE}:18200/cgi-bin/who").lines) == 1
    ports = proa("port", name).lines
    assert "80/tcp -> 0.0.0.0:18200" in ports and "80/tcp -> [::]:18200" in ports and place["IPAddress"]


def test_one_address_only(name, net, six):
    proa("run", "-d", "--name", name, "--network", net, "-p", f"[{INSIDE6}]:18201:80", "-p", f"{INSIDE}:18202-18203:80-81",
         "-p", f"[{INSIDE6}]::80", "busybox", "sh", "-c", WHO)
    until(lambda: get(INSIDE6, 18201))
    assert not get("127.0.0.1", 18201) and get(INSIDE6, 18201, OUT)
    assert get(INSIDE, 18202) and not get("127.0.0.1", 18202) and not get(INSIDE6, 18202, OUT)
    chosen = [line.rsplit(":", 1)[1] for line in proa("port", name, "80/tcp").lines if INSIDE6 in line and not line.endswith(":18201")]
    assert plain(get(INSIDE6, chosen[0], OUT)) == OUTSIDE6
    refuse("run", "--rm", "--network", net, "-p", f"[{INSIDE6}]:18201:80", "busybox", "true", say="in use on")
    refuse("run", "--rm", "-p", "[::1]:18208:80", "busybox", "true", say="publish on 127.0.0.1")
    refuse("run", "--rm", "--network", net, "-p", "[2001:db8::5]:18209:80", "busybox", "true", say="not an address of this host")
    # Somebody else's socket, and ours after it has gone.
    with socket.socket(socket.AF_INET6) as s:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind((INSIDE6, 18205))
        s.listen()
        refuse("run", "--rm", "--network", net, "-p", f"[{INSIDE6}]:18205:80", "busybox", "true", say="in use")
    proa("run", "--rm", "--network", net, "-p", f"[{INSIDE6}]:18205:80", "busybox", "true")


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_sctp_is_translated(name, net):
    """This kernel may have no SCTP of its own: an INIT is sent by hand and has to arrive at the instance's port."""
    proa("run", "-d", "--name", name, "--network", net, "-p", "18206:99/sctp", "busybox", "sleep", "1000")
    pid = inspect(name)["State"]["Pid"]
    init = struct.pack("!BBHIIHHI", 1, 0, 20, 0x1234, 65535, 1, 1, 7)
    head = struct.pack("!HHI", 40000, 18206, 0)
    packet = head + struct.pack("<I", crc32c(head + bytes(4) + init)) + init
    listen = subprocess.Popen(["nsenter", f"--net=/proc/{pid}/ns/net", "python3", "-c",
                               "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)\ns.settimeout(20)\nprint('up', flush=True)\n"
                               "d, a = s.recvfrom(2048)\nprint(int.from_bytes(d[22:24], 'big'), a[0], flush=True)"], stdout=subprocess.PIPE, text=True)
    try:
        assert listen.stdout.readline() == "up\n"
        subprocess.run([*OUT, "python3", "-c", f"import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)\ns.sendto({packet!r}, ('{INSIDE}', 0))"], check=True)
        assert listen.stdout.readline().split() == ["99", OUTSIDE]
    finally:
        listen.kill()
        listen.wait()
        listen.stdout.close()


def test_udp_by_either_family(name, net, six, web):
    echo = ('use IO::Socket::IP; $s = IO::Socket::IP->new(LocalHost => "::", LocalPort => 7000, Type => SOCK_DGRAM, V6Only => 0) or die $@; '
            'while ($a = recv($s, $d, 99, 0)) { send($s, "echo $d", 0, $a) }')
    proa("run", "-d", "--name", name, "--network", net, "-p", "18207:7000/udp", web, "perl", "-MSocket=SOCK_DGRAM", "-e", echo)

    def answered(family, host):
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.settimeout(0.3)
            s.sendto(b"hi", (host, 18207))
            try:
                return s.recv(100) == b"echo hi"
            except OSError:
                return False
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, INSIDE), (socket.AF_INET6, INSIDE6)):
        until(lambda: answered(family, host), message=lambda: f"{host}: {proa('logs', name)}")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_udp_of_before_goes_to_who_has_the_port_now(name, net, six, web, family):
    """A client that never pauses: from before the port is published, past the end of who had it first."""
    echo = ('use IO::Socket::IP; $s = IO::Socket::IP->new(LocalHost => "::", LocalPort => 7000, Type => SOCK_DGRAM, V6Only => 0) or die $@; '
            'while ($a = recv($s, $d, 99, 0)) { send($s, $ARGV[0], 0, $a) }')
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)
        s.connect((INSIDE if family == socket.AF_INET else INSIDE6, 18211))

        def says(what):
            try:
                s.send(b"hi")
                return s.recv(100) == what.encode()
            except OSError:
                return False
        assert not says("first")
        for who in ("first", "second"):
            held = f"{name}-{who}-addresses"  # the second has other addresses than the first
            proa("run", "-d", "--name", name, "--network", net, "-p", "18211:7000/udp", web, "perl", "-MSocket=SOCK_DGRAM", "-e", echo, who)
            try:
                until(lambda: says(who), message=lambda: f"{who}: {proa('logs', name)}")
            finally:
                proa("rm", "-f", name)
            proa("create", "--name", held, "--network", net, "busybox", "true")
        for who in ("first", "second"):
            proa("rm", f"{name}-{who}-addresses")
