"""One end of test_policy.py's connections: a process in a network namespace.

It answers on every port of PORTS, by TCP and by UDP and both families, and tries what it is told on
standard input: a line of JSON, a list of [protocol, address, port]; a line with a list of truths comes
back. A try that is refused or not answered in time is false. Not a test, and no part of Proa.

    policy_peer.py PORT [PORT...]
"""

import json
import select
import socket
import sys
import time

WAIT = 2.0  # for what gets no answer at all; what is refused is told so at once


def listen(ports):
    found = []
    for port in ports:
        for family in (socket.AF_INET, socket.AF_INET6):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                try:
                    s = socket.socket(family, kind)
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    if family == socket.AF_INET6:
                        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    s.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
                except OSError:
                    continue
                if kind == socket.SOCK_STREAM:
                    s.listen(512)
                s.setblocking(False)
                found.append(s)
    return found


def serve(s):
    try:
        if s.type == socket.SOCK_STREAM:
            s.accept()[0].close()
        else:
            data, peer = s.recvfrom(100)
            s.sendto(data, peer)
    except OSError:
        pass


class Try:
    def __init__(self, protocol, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.tcp = protocol == "tcp"
        self.done = None
        self.s = socket.socket(family, socket.SOCK_STREAM if self.tcp else socket.SOCK_DGRAM)
        self.s.setblocking(False)
        try:
            error = self.s.connect_ex((address, port))
            if not self.tcp:
                self.s.send(b"?")
            elif error and error != 115:  # EINPROGRESS
                self.done = False
        except OSError:
            self.done = False

    def ready(self):
        try:
            if self.tcp:
                self.done = self.s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            else:
                self.done = self.s.recv(10) == b"?"
        except OSError:
            self.done = False


def attempt(cases, servers):
    tries = [Try(*c) for c in cases]
    end = time.monotonic() + WAIT
    while (waiting := [t for t in tries if t.done is None]) and (left := end - time.monotonic()) > 0:
        reads = servers + [t.s for t in waiting if not t.tcp]
        writes = [t.s for t in waiting if t.tcp]
        readable, writable, _ = select.select(reads, writes, [], left)
        for t in waiting:
            if t.s in (writable if t.tcp else readable):
                t.ready()
        for s in readable:
            if s in servers:
                serve(s)
    for t in tries:
        t.s.close()
    return [bool(t.done) for t in tries]


def main():
    servers = listen([int(a) for a in sys.argv[1:]])
    print("up", flush=True)
    while True:
        readable, _, _ = select.select([sys.stdin.fileno(), *servers], [], [])
        for s in readable:
            if s != sys.stdin.fileno():
                serve(s)
        if sys.stdin.fileno() in readable:
            line = sys.stdin.readline()
            if not line:
                return
            print(json.dumps(attempt(json.loads(line), servers)), flush=True)


if __name__ == "__main__":
    main()
