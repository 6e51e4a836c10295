"""The ends of test_policy_names.py: an echo outside, and what an instance does. Not a test, and no part of Proa.

    names_peer.py serve PORT [PORT...]   echoes by TCP and UDP
    names_peer.py ask                    does what lines of JSON say, and answers with one for each:
        ["dns", SERVER, NAME, TYPE, "udp"|"tcp"]    [code, [address...]]; code null: no answer
        ["again", SERVER, NAME]                     the same by one UDP socket that stays: the code
        ["reach", "tcp"|"udp", ADDRESS, PORT]       whether an echo came back
        ["hold", ADDRESS, PORT], ["use"]            a connection that stays, and whether it still echoes
"""

import json
import random
import selectors
import socket
import struct
import sys

WAIT = 2.0
TYPES = {"A": 1, "AAAA": 28, "MX": 15, "CNAME": 5}
held = None
asking = {}


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(ports):
    ready = selectors.DefaultSelector()
    for port in ports:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            s = socket.socket(socket.AF_INET6, kind)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            if kind == socket.SOCK_DGRAM:  # answered from where it was sent to
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            s.bind(("::", port))
            if kind == socket.SOCK_STREAM:
                s.listen(100)
            ready.register(s, selectors.EVENT_READ, kind == socket.SOCK_STREAM and "listens")
    print("up", flush=True)
    while True:
        for key, _ in ready.select():
            s = key.fileobj
            if key.data == "listens":
                ready.register(s.accept()[0], selectors.EVENT_READ, "echoes")
            elif s.type == socket.SOCK_DGRAM:
                data, control, _, peer = s.recvmsg(100, 100)
                s.sendmsg([data], [c for c in control if c[1] == socket.IPV6_PKTINFO], 0, peer)
            else:
                try:
                    data = s.recv(100)
                except OSError:
                    data = b""
                if data:
                    s.sendall(data)
                else:
                    ready.unregister(s)
                    s.close()


def skip_name(message, at):
    while message[at]:
        if message[at] & 0xc0:
            return at + 2
        at += 1 + message[at]
    return at + 1


def receive(s, n):
    data = b""
    while len(data) < n:
        part = s.recv(n - len(data))
        if not part:
            raise OSError("it ended")
        data += part
    return data


def again(server, name):
    """As resolvers do that keep their socket."""
    if server not in asking:
        asking[server] = connect("udp", server, 53)
    try:
        number, message = question(name, "A")
        asking[server].send(message)
        answer = asking[server].recv(65535)
        return answer[3] & 15 if answer[:2] == struct.pack("!H", number) else None
    except OSError:
        return None


def question(name, kind):
    number = random.randrange(65536)
    labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split("."))
    return number, struct.pack("!HHHHHH", number, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", TYPES[kind], 1)


def exchange(server, message, over):
    with socket.socket(family(server), socket.SOCK_STREAM if over == "tcp" else socket.SOCK_DGRAM) as s:
        s.settimeout(WAIT)
        s.connect((server, 53))
        if over == "udp":
            s.send(message)
            return s.recv(65535)
        s.sendall(struct.pack("!H", len(message)) + message)
        return receive(s, struct.unpack("!H", receive(s, 2))[0])


def dns(server, name, kind, over):
    number, message = question(name, kind)
    try:
        answer = exchange(server, message, over)
    except OSError:
        return [None, []]
    got, flags, _, n = struct.unpack("!HHHH", answer[:8])
    if got != number or not flags & 0x8000:
        return [None, []]
    at, found = skip_name(answer, 12) + 4, []
    for _ in range(n):
        at = skip_name(answer, at)
        type_, _, _, size = struct.unpack("!HHIH", answer[at:at + 10])
        at += 10
        if type_ == TYPES[kind] and size in (4, 16):
            found.append(socket.inet_ntop(socket.AF_INET6 if size == 16 else socket.AF_INET, answer[at:at + size]))
        at += size
    return [flags & 15, found]


def connect(over, address, port):
    s = socket.socket(family(address), socket.SOCK_STREAM if over == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(WAIT)
    s.connect((address, port))
    return s


def echoes(s):
    try:
        s.sendall(b"?")
        return s.recv(10) == b"?"
    except OSError:
        return False


def reach(over, address, port):
    try:
        with connect(over, address, port) as s:
            return echoes(s)
    except OSError:
        return False


def hold(address, port):
    global held
    held = connect("tcp", address, port)
    return echoes(held)


def use():
    return echoes(held)


def main():
    if sys.argv[1] == "serve":
        serve([int(p) for p in sys.argv[2:]])
    print("up", flush=True)
    for line in sys.stdin:
        what, *rest = json.loads(line)
        print(json.dumps({"dns": dns, "again": again, "reach": reach, "hold": hold, "use": use}[what](*rest)), flush=True)


if __name__ == "__main__":
    main()
