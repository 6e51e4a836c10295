"""What tests of policies share: an end of connections in each party, and three answers to one question that must agree, of
packets, of `policy test` and of the test's own model."""

import contextlib
import json
import os
import subprocess

from cli import BUILD, environment, proa

PEER = os.path.join(BUILD, "tests/integration/peer")


class Peer:
    """peer.c at work somewhere: `argv` runs it, up to its ports."""

    def __init__(self, ports, *argv, program=PEER):
        self.process = subprocess.Popen([*argv, program, *map(str, ports)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment())
        assert self.process.stdout.readline() == "up\n"

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self):
        return self.process.stdout.readline().rstrip("\n")

    def ask(self, cases):
        """Begins to try each [protocol, address, port]."""
        self.say("try " + " ".join(f"{protocol},{address},{port}" for protocol, address, port in cases))

    def answers(self):
        return [digit == "1" for digit in self.hear()]

    def hold(self, address, port):
        self.say(f"hold {address} {port}")
        return self.hear()

    def use(self):
        """What has become of each connection that is held."""
        self.say("use")
        return self.hear().split()

    def drop(self):
        self.say("drop")
        assert self.hear() == "dropped"

    def end(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()


LIMITS = {"net/ipv4/icmp_ratelimit": "0", "net/ipv4/icmp_msgs_burst": "10000", "net/ipv4/icmp_msgs_per_sec": "100000",
          "net/ipv6/icmp/ratelimit": "0"}


def sysctl(name, value):
    """Gives what it was."""
    with open("/proc/sys/" + name) as f:
        before = f.read()
    with open("/proc/sys/" + name, "w") as f:
        f.write(value)
    return before


@contextlib.contextmanager
def refusals_at_once():
    """What is refused is told so by ICMP, and the kernel tells a peer that once a second."""
    before = {name: sysctl(name, value) for name, value in LIMITS.items()}
    try:
        yield
    finally:
        for name, value in before.items():
            sysctl(name, value)


def packets(peers, cases):
    """{question: (who asks, [protocol, address, port])} -> {question: whether it got through}. All ask at the same time."""
    by_source = {}
    for q, (source, case) in cases.items():
        by_source.setdefault(source, []).append((q, case))
    for source, list_ in by_source.items():
        peers[source].ask([case for _, case in list_])
    return {q: answer for source, list_ in by_source.items() for (q, _), answer in zip(list_, peers[source].answers())}


def told(asked, words, run=proa):
    """What `policy test` says: {question: (allowed, why)}. words: the question as a line of the command's."""
    lines = [words(q) for q in asked]
    answers = [json.loads(line) for line in run("policy", "test", "--json", "--batch", input="".join(x + "\n" for x in lines)).lines]
    assert len(answers) == len(asked)
    return {q: (a["Allowed"], a["Reason"]) for q, a in zip(asked, answers)}


def agree(model, said, seen):
    """The three answers to each question."""
    wrong = [f"{q}: model {model[q]}, policy test {said[q][0]} ({said[q][1]}), packets {seen[q]}" for q in model
             if not model[q] == said[q][0] == seen[q]]
    assert not wrong, f"{len(wrong)} of {len(model)}:\n" + "\n".join(wrong[:20])
