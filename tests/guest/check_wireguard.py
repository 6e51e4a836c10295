#!/usr/bin/python3
"""A network over two hosts in WireGuard: two network namespaces with a wire between them, each with a store of its own."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

import checks

HOSTS = {"h1": ("192.0.2.1", "10.77.20.0/25"), "h2": ("192.0.2.2", "10.77.20.128/25")}
OTHER = {"h1": "h2", "h2": "h1"}
NET, WORD, LABEL = "sealed", "word-that-nobody-reads", "label-that-nobody-reads"
keys = {}


def host(which, *argv, **kw):
    return checks.command("nsenter", f"--net=/run/netns/{which}", *argv, timeout=180, **kw)


def proa(which, *args, **kw):
    return host(which, "proa", "--root", f"/tmp/{which}", *args, **kw)


def network(which):
    return json.loads(proa(which, "network", "inspect", NET).out)[0]


def links(which):
    return [x["ifname"] for x in json.loads(host(which, "ip", "-j", "link").out)]


def until(what):
    for _ in range(300):
        if what():
            return
        time.sleep(0.1)
    raise AssertionError("it never came true")


def create(which, key, **kw):
    address, part = HOSTS[which]
    return proa(which, "network", "create", "--subnet", "10.77.20.0/24", "--subnet", "fd77:20::/64", "--ip-range", part, "--vxlan-id", "42",
                "--peer", f"{HOSTS[OTHER[which]][0]}={key}", NET, **kw)


def start(which):
    proa(which, "run", "-d", "--name", f"{which}-secret", "--network", NET, "-l", f"{LABEL}=x", "box:1", "sleep", "100000")


def ping(which, to):
    return proa(which, "exec", f"{which}-secret", "ping", "-c", "1", "-W", "2", to, check=False).code == 0


def inside(which):
    """The instance's network namespace."""
    return f"/proc/{json.loads(proa(which, 'inspect', f'{which}-secret').out)[0]['State']['Pid']}/ns/net"


class Wire:
    """What passes a link of a namespace meanwhile."""

    def __init__(self, namespace, link):
        code = ("import socket, sys\n"
                "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); s.bind((sys.argv[1], 3))\n"
                "s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)\n"
                "print('up', flush=True)\n"
                "while True:\n    print(s.recv(65535).hex(), flush=True)\n")
        self.process = subprocess.Popen(["nsenter", f"--net={namespace}", sys.executable, "-c", code, link], stdout=subprocess.PIPE, text=True)
        checks.equal(self.process.stdout.readline(), "up\n")
        self.frames = []
        self.reader = threading.Thread(target=lambda: self.frames.extend(bytes.fromhex(x) for x in self.process.stdout))
        self.reader.start()

    def end(self):
        time.sleep(0.5)
        self.process.kill()
        self.process.wait()
        self.reader.join()
        return self.frames


TALK = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
word = sys.argv[2].encode()
if sys.argv[3] == "serve":
    s = socket.create_server((sys.argv[1], 7000), family=family)
    print("up", flush=True)
    c, _ = s.accept()
    c.sendall(c.recv(100))
    c.close()
else:
    c = socket.create_connection((sys.argv[1], 7000), timeout=10)
    c.sendall(word)
    assert c.recv(100) == word
"""


def talk(address):
    """A word from the first host's instance to the second's and back, by TCP."""
    server = subprocess.Popen(["nsenter", f"--net={inside('h2')}", sys.executable, "-c", TALK, address, WORD, "serve"],
                              stdout=subprocess.PIPE, text=True)
    try:
        checks.equal(server.stdout.readline(), "up\n")
        checks.command("nsenter", f"--net={inside('h1')}", sys.executable, "-c", TALK, address, WORD, "ask")
    finally:
        server.kill()
        server.wait()


def case_a_key_of_the_host():
    checks.make_root("/tmp/sealed-root", ("sh", "sleep", "ping", "ip", "nslookup"))
    checks.command("tar", "-C", "/tmp/sealed-root", "-cf", "/tmp/sealed-root.tar", ".")
    for which in HOSTS:
        checks.command("ip", "netns", "add", which)
    checks.command("ip", "-n", "h1", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", "h2")
    for which, (address, _) in HOSTS.items():
        checks.command("ip", "-n", which, "link", "set", "lo", "up")
        checks.command("ip", "-n", which, "addr", "add", f"{address}/24", "dev", "wire")
        checks.command("ip", "-n", which, "link", "set", "wire", "up")
        proa(which, "import", "/tmp/sealed-root.tar", "box:1")
        keys[which] = proa(which, "network", "key").out.strip()
        checks.equal(proa(which, "network", "key").out.strip(), keys[which])
        checks.equal(os.stat(f"/tmp/{which}/wireguard.key").st_mode & 0o777, 0o600)
        checks.equal(len(keys[which]), 44)
        checks.equal(links(which), ["lo", "wire"])  # it was made out of the kernel's sight
    checks.true(keys["h1"] != keys["h2"])


def case_what_cannot_be():
    for key, say in (("x", "is not a public key"), (keys["h1"], "own key")):
        result = create("h1", key, check=False)
        checks.true(result.code and say in result.err and len(result.err.splitlines()) == 1, result)
    result = proa("h1", "network", "create", "--subnet", "10.77.20.0/24", "--ip-range", "10.77.20.0/25", "--vxlan-id", "42", "--peer",
                  f"192.0.2.2={keys['h2']}", "--peer", "192.0.2.3", NET, check=False)
    checks.true(result.code and "either all peers" in result.err, result)


def case_two_hosts():
    for which in HOSTS:
        create(which, keys[OTHER[which]])
        start(which)
    until(lambda: ping("h1", "h2-secret") and ping("h2", "h1-secret"))
    checks.true(ping("h1", "10.77.20.130") and ping("h1", "fd77:20::82") and ping("h2", "fd77:20::2"))
    checks.equal(proa("h1", "exec", "h1-secret", "cat", "/sys/class/net/eth0/mtu", check=False).code, 127)
    checks.true(" mtu 1370 " in proa("h1", "exec", "h1-secret", "ip", "link", "show", "eth0").out)
    sealed = network("h1")["WireGuard"]
    checks.equal((sealed["PublicKey"], sealed["Port"]), (keys["h1"], 51820))
    peer = sealed["Peers"]["192.0.2.2"]
    checks.true(peer["LatestHandshake"] and peer["ReceivedBytes"] > 0 and peer["PublicKey"] == keys["h2"], peer)
    with open("/tmp/h1/wireguard.key") as f:
        private = f.read().strip()
    checks.true(private not in proa("h1", "network", "inspect", NET).out and private != keys["h1"])


def case_nothing_is_readable_on_the_wire():
    wire, within = Wire("/run/netns/h1", "wire"), Wire(inside("h1"), "eth0")
    try:
        for address in ("10.77.20.130", "fd77:20::82"):
            talk(address)
        proa("h2", "rename", "h2-secret", "h2-renamed-secret")  # the hosts tell each other
        until(lambda: proa("h1", "exec", "h1-secret", "nslookup", "h2-renamed-secret", check=False).code == 0)
        proa("h2", "rename", "h2-renamed-secret", "h2-secret")
        # As large as it may be, and nothing of it in pieces.
        checks.equal(proa("h1", "exec", "h1-secret", "ping", "-c", "1", "-W", "2", "-s", "1342", "10.77.20.130").code, 0)
    finally:
        seen, clear = wire.end(), within.end()
    checks.true(sum(WORD.encode() in f for f in clear) >= 4, "the word was not said")
    checks.true(any(len(f) > 1380 for f in clear))
    for word in (WORD, LABEL, "secret"):
        checks.equal([f for f in seen if word.encode() in f], [])
    packets = [f for f in seen if f[12:14] == b"\x08\x00"]
    checks.true(len(packets) > 20, len(packets))
    for f in packets:
        checks.equal((f[23], struct.unpack("!H", f[20:22])[0] & 0x3fff, struct.unpack("!HH", f[34:38])), (17, 0, (51820, 51820)))


def case_in_clear_text_nothing_is_heard():
    """A frame in a VXLAN packet without WireGuard, from the peer's address on the wire and from the one in the tunnel."""
    inner = [line.split()[0] for line in host("h1", "ip", "route").lines if line.startswith("2") and "wproa" in line][0]
    local = [line.split()[3].split("/")[0] for line in host("h1", "ip", "-o", "addr").lines if "wproa" in line][0]
    frame = bytes.fromhex("ffffffffffff0251000000ee0806000108000604000102510a0a0a0a") + socket.inet_aton("10.77.20.200") + bytes(6)
    frame = (struct.pack("!II", 0x08000000, 42 << 8) + frame + socket.inet_aton("10.77.20.2")).hex()
    mac = json.loads(host("h1", "ip", "-j", "link", "show", "wire").out)[0]["address"]
    raw = ("import socket, sys\n"
           "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('wire', 0))\n"
           "[s.send(bytes.fromhex(sys.argv[1])) for _ in range(3)]\n")
    plain = ("import socket, sys\n"
             "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
             "[s.sendto(bytes.fromhex(sys.argv[1]), (sys.argv[2], 4789)) for _ in range(3)]\n")

    def heard(*argv):
        within = Wire(inside("h1"), "eth0")
        try:
            host("h2", sys.executable, "-c", *argv)
        finally:
            frames = within.end()
        return any(bytes.fromhex("0a4d14c8") in f for f in frames)

    def on_the_wire(source, to):
        udp = struct.pack("!HHHH", 4000, 4789, 8 + len(frame) // 2, 0)
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(frame) // 2, 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(to))
        total = sum(struct.unpack("!10H", head))
        total = (total & 0xffff) + (total >> 16)
        head = head[:10] + struct.pack("!H", ~total & 0xffff) + head[12:]
        return (bytes.fromhex(mac.replace(":", "")) + b"\x02\0\0\0\0\x01\x08\0" + head + udp).hex() + frame
    checks.true(not heard(raw, on_the_wire("192.0.2.2", "192.0.2.1")), "from the peer's address")
    checks.true(not heard(raw, on_the_wire(inner, local)), "from the address in the tunnel")
    checks.true(heard(plain, frame, local), "the same in WireGuard")
    # Nor does a host send it so, whatever its routes say.
    result = host("h2", sys.executable, "-c", plain, frame, "192.0.2.1", check=False)
    checks.true(result.code == 1 and "PermissionError" in result.err, result)


def case_the_link_comes_back():
    seal = next(x for x in links("h1") if x.startswith("wproa"))
    host("h1", "ip", "link", "del", seal)
    wire = Wire("/run/netns/h1", "wire")
    checks.true(not ping("h1", "10.77.20.130"))
    clear = [f for f in wire.end() if f[12:14] == b"\x08\x00" and f[23] in (6, 17) and f[34:38] != struct.pack("!HH", 51820, 51820)]
    checks.equal(clear, [])
    proa("h1", "run", "--rm", "--network", NET, "box:1", "sh", "-c", "true")
    until(lambda: ping("h1", "10.77.20.130") and ping("h2", "h1-secret"))


def case_another_key_is_nobody():
    proa("h2", "rm", "-f", "h2-secret")
    proa("h2", "network", "rm", NET)
    os.rename("/tmp/h2/wireguard.key", "/tmp/h2/kept.key")
    try:
        other = proa("h2", "network", "key").out.strip()
        checks.true(other != keys["h2"])
        create("h2", keys["h1"])
        start("h2")
        checks.true(not ping("h2", "10.77.20.2") and not ping("h1", "10.77.20.130"))
        peer = network("h2")["WireGuard"]["Peers"]["192.0.2.1"]
        checks.equal((peer["LatestHandshake"], peer["ReceivedBytes"]), (None, 0))
        checks.true(peer["SentBytes"] > 0, peer)
        checks.equal(network("h2")["Peers"], {"192.0.2.1": []})
    finally:
        os.rename("/tmp/h2/kept.key", "/tmp/h2/wireguard.key")


def case_removal_leaves_nothing():
    for which in HOSTS:
        proa(which, "rm", "-f", f"{which}-secret")
        proa(which, "network", "rm", NET)
        checks.equal(links(which), ["lo", "wire"])
        checks.true("240." not in host(which, "ip", "route").out and "proa" not in host(which, "nft", "list", "tables").out)
        checks.equal(host(which, "ip", "-j", "-4", "route").out.count("dst"), 1)


if __name__ == "__main__":
    checks.main(globals())
