"""A peer of a network that spans hosts, as far as a listener can tell: run it where the peer's address is.

span_peer.py SOURCE ADDRESS PORT KEY: reads a line of JSON for each thing to do, and answers each with one: connect (gives
the greeting, or null), roster (members as [address, names, labels]), same, farewell, raw (bytes in hex), kept (what was sent
on the connection before, once more), closed (waits for the other end to hang up, and says whether it did).
"""

import hashlib
import hmac
import json
import socket
import struct
import sys

SOURCE, ADDRESS, PORT, KEY = sys.argv[1:]


def member(address, names, labels):
    out = socket.inet_aton(address) + b"\0" + bytes([len(names)])
    for name in names:
        out += bytes([len(name)]) + name.encode()
    out += struct.pack("!H", len(labels))
    for label in labels:
        out += struct.pack("!H", len(label)) + label.encode()
    return out


class Peer:
    def __init__(self):
        self.socket, self.sent, self.before = None, b"", b""

    def connect(self):
        if self.socket:
            self.socket.close()
        self.before, self.sent, self.number = self.sent, b"", 0
        self.socket = socket.socket()
        self.socket.bind((SOURCE, 0))
        self.socket.settimeout(1.5)
        try:
            self.socket.connect((ADDRESS, int(PORT)))
            self.greeting = b""
            while len(self.greeting) < 48:
                more = self.socket.recv(48 - len(self.greeting))
                if not more:
                    return None
                self.greeting += more
        except OSError:
            return None
        return self.greeting.hex()

    def message(self, kind, body=b""):
        data = struct.pack("!B3xI", kind, len(body)) + body
        key = hashlib.sha256(KEY.encode()).digest() if KEY else b""
        tag = hmac.new(key, self.greeting + struct.pack("!Q", self.number) + data, "sha256").digest()
        self.number += 1
        return self.raw(data + tag)

    def raw(self, data):
        self.sent += data
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # it has hung up, which "closed" will say
        return True

    def closed(self):
        try:
            self.socket.settimeout(10)
            return self.socket.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def do(self, what, value=None):
        if what == "connect":
            return self.connect()
        if what == "closed":
            return self.closed()
        if what == "roster":
            return self.message(1, struct.pack("!I", len(value)) + b"".join(member(*m) for m in value))
        if what in ("same", "farewell"):
            return self.message(2 if what == "same" else 3)
        return self.raw(self.before if what == "kept" else bytes.fromhex(value))


peer = Peer()
for line in sys.stdin:
    print(json.dumps(peer.do(*json.loads(line))), flush=True)
