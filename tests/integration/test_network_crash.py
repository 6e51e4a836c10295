"""`proa stop` and `proa policy apply` killed at each step, for an instance on a network with both families and a published
port: after the next command links, addresses, ports and rules are what the store says.

The gate takes eight steps of each, spread over the whole; with PROA_ROUNDS all are taken, and machines are stopped, too.
"""

import json
import os
import re
import signal
import subprocess

import pytest

import leaks
from cli import proa, state, until
from policy_documents import app, apply, network, ports, remove_all
from test_crash import points, steps_of, traced
from test_policy import table

ALL_OF_THEM = "PROA_ROUNDS" in os.environ
STEPS = 1 << 20 if ALL_OF_THEM else 8
PORT, NUMBERS = 18600, (4711, 4712)


@pytest.fixture
def place(name):
    """The network, with a neighbour on it that stays, and policies that select both."""
    net = name + "-n"
    proa("network", "create", "--ipv6", net)
    proa("run", "-d", "--name", name + "x", "--network", net, "-l", "app=neighbour", "busybox", "sleep", "1000")
    apply(network("crash", {"podSelector": app("crash"), "ingress": [{"from": [{"podSelector": app("neighbour")}], "ports": ports(80)}]}),
          network("neighbour", {"podSelector": app("neighbour"), "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": app("crash")}]}]}))
    yield net
    remove_all()
    proa("rm", "-f", name, name + "x", check=False, timeout=60)
    proa("network", "rm", net)


def begin(kind, name, net):
    command = ["--vm", "busybox", "sleep", "1000"] if kind == "vm" else ["--init", "busybox", "sleep", "1000"]
    proa("create", "--name", name, "--network", net, "-l", "app=crash", "-p", f"{PORT}:80", *command)
    proa("start", name, timeout=120)


def rules():
    """What is made anew has other numbers, packets are counted, and who had too many connections is known for a day."""
    parts = [part for name in ("inet proa", "bridge proa", "inet proa-policy") for part in table(name)]
    parts = [part for part in parts if not part.startswith(("set limited", "set usual "))]
    parts = [re.sub(r"\b([aehips])\d+(?=\b|_|[ehi]\b)", r"\1N", part) for part in parts]
    return {re.sub(r"counter packets \d+ bytes \d+", "counter", part) for part in parts}


def links():
    return set(leaks.links()) | set(leaks.ports())


def picture(net):
    """What there is of the network, in the kernel and in the store."""
    return links(), rules(), addresses(net)


def addresses(net):
    return sorted(proa("network", "addresses", net, "--format", "{{.Instance}} {{.Address}} {{.State}}").lines)


def made_anew():
    """The policies' table as the store says it, in the place of what there is."""
    subprocess.run(["nft", "delete", "table", "inet", "proa-policy"], check=True)
    proa("run", "--rm", "busybox", "true")
    return table()


KINDS = ["container", *(["vm"] if ALL_OF_THEM else [])]


@pytest.mark.slow
@pytest.mark.parametrize("what", KINDS)
def test_stop_killed_at_each_step(what, place, name):
    """It runs, and has all of it, or it does not, and has nothing but its reservation."""
    begin(what, name, place)
    stop = ["stop", "-t", "1", name]
    wanted = {"running": picture(place)}
    steps = steps_of(stop)

    def gone():  # the kernel takes the namespace's link away at its leisure
        now = picture(place)
        return all(a != b for a, b in zip(wanted["running"], now)) and now
    wanted["exited"] = until(gone, message="an instance that runs has a link, rules and addresses of its own")
    ends = []
    for point in points(steps, STEPS):
        if state(name) != "running":
            proa("start", name, timeout=120)
        traced(stop, point)

        def settled():  # the signal may be on its way
            now = state(name)  # the next command, which repairs
            return picture(place) == wanted[now] and now
        ends.append(until(settled, message=lambda: f"{point}: {state(name)}, {picture(place)}, not {wanted[state(name)]}"))
    assert {"running", "exited"} == set(ends), ends
    assert table() == made_anew()


def rule_of(number):
    return network("crash", {"podSelector": app("crash"), "ingress": [
        {"from": [{"podSelector": app("neighbour")}], "ports": ports(number)}, {"from": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]}]})


def stored():
    return proa("policy", "inspect", "crash").json[0]["spec"]["ingress"][0]["ports"][0]["port"]


@pytest.mark.slow
def test_policy_apply_killed_at_each_step(place, name, tmp_path):
    """The rules are the old ones or the new ones, whole, as the store says; no link, address or port is touched."""
    begin("container", name, place)
    for number in NUMBERS:
        (tmp_path / str(number)).write_text(json.dumps(rule_of(number)))
    held = links(), addresses(place)
    killed, changed, before = 0, set(), NUMBERS[0]
    steps = steps_of(["policy", "apply", str(tmp_path / str(before))])
    for point in points(steps, STEPS):
        other = sum(NUMBERS) - before
        killed += traced(["policy", "apply", str(tmp_path / str(other))], point).returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
        now = stored()  # the next command
        changed.add(now == other)
        before = now
        text = table()
        assert {str(now)} == set(re.findall(r"\b471[12]\b", "".join(text))), (point, now, text)
        until(lambda: (links(), addresses(place)) == held, message=f"{point}: {links()}, {addresses(place)}, not {held}")
        assert text == made_anew(), point
    assert killed > 3, "the kills do not arrive"
    assert changed == {True, False}, "before it was done and after"
