"""A machine that boots a disk joins and leaves networks while it runs: cards that are plugged in and pulled out, with real
packets. One boot of the small disk with QEMU's guest agent serves all of it."""

import os
import sys

import pytest

from cli import inspect, proa, refuse, until
from sandbox import TOP
from test_crash import points, steps_of, traced
from test_network_ports import ping, proa_rows

sys.path.insert(0, os.path.join(TOP, "tests/machine"))
import disk  # noqa: E402

pytestmark = pytest.mark.vm
ASK = r"printf '#!/bin/sh\n[ $1 = bound ] && ip addr add $ip/$mask dev $interface\n' >/tmp/bound; chmod 755 /tmp/bound; " \
      "ip link set {0} up && udhcpc -i {0} -n -q -f -s /tmp/bound"


@pytest.fixture
def nets(name):
    """Two networks, an instance on the second."""
    made = [name + "-a", name + "-b"]
    proa("network", "create", "--subnet", "10.77.10.0/24", made[0])
    proa("network", "create", "--subnet", "10.77.11.0/24", made[1])
    proa("run", "-d", "--name", name + "x", "--network", made[1], "busybox", "sleep", "10000")
    yield made
    proa("rm", "-f", name, name + "x", check=False, timeout=60)
    proa("rmi", "agent:cards", check=False)
    for net in made:
        proa("network", "rm", "-f", net)


def inside(name, command):
    return proa("exec", name, "sh", "-c", command, check=False)


def cards(name):
    """{hardware address: link} of the cards that the system inside has."""
    found = inside(name, "cd /sys/class/net; for i in eth*; do [ -e $i ] && echo $(cat $i/address) $i; done").lines
    return dict(line.split() for line in found)


def card(name, net):
    """The link inside that is that network's card."""
    mac = inspect(name)["NetworkSettings"]["Networks"][net]["MacAddress"]
    return until(lambda: cards(name).get(mac), timeout=60, message=f"no card has {mac}")


@pytest.mark.slow
def test_cards_come_and_go(name, nets):
    a, b = nets
    proa("import", disk.path_of("agent"), "agent:cards", timeout=120)
    proa("run", "-d", "--name", name, "-m", "192m", "--restart", "always", "--network", a, "agent:cards", timeout=60)
    until(lambda: inside(name, "true").rc == 0, timeout=240)
    first = cards(name)
    assert len(first) == 1
    # It joins: the system inside finds a card, and is told its address when it asks.
    proa("network", "connect", "--ip", "10.77.11.50", "--alias", "late", b, name)
    link = card(name, b)
    assert inside(name, ASK.format(link)).rc == 0
    assert ping(name + "x", "late") and ping(name + "x", "10.77.11.50")
    listed = {r["Instance"]: (r["Address"], r["State"]) for r in proa_rows("network", "addresses", b)}
    assert listed[name] == ("10.77.11.50", "in use")
    refuse("network", "connect", b, name, rc=1, say="already")
    # It sends as itself only.
    inside(name, f"ip addr add 10.77.11.77/24 dev {link}")
    assert not ping(name + "x", "10.77.11.77", wait=1)
    # Its memory goes on with that card where it was.
    proa("snapshot", "create", "--memory", "--name", name, name, timeout=60)
    proa("snapshot", "restore", "--force", name, name, timeout=60)
    until(lambda: ping(name + "x", "10.77.11.50"), timeout=60)
    assert set(cards(name).values()) == {*first.values(), link}
    # It leaves: at once, whatever the system inside does about it, which lets go of the card soon.
    proa("network", "disconnect", b, name)
    assert not ping(name + "x", "10.77.11.50", wait=1)
    until(lambda: cards(name) == first, timeout=60)
    proa("snapshot", "rm", name)
    the_next_command_repairs(name, a, b, first)
    no_more_than_there_are_ports(name, nets, first)
    # The card that it was started with stays, without a link; its memory would fit no other start.
    inside(name, f"ip link set {first_link(first)} up")
    assert inside(name, f"cat /sys/class/net/{first_link(first)}/carrier").out == "1\n"
    proa("network", "connect", b, name)
    proa("network", "disconnect", a, name)
    until(lambda: inside(name, f"cat /sys/class/net/{first_link(first)}/carrier").out == "0\n")
    refuse("snapshot", "create", "--memory", name, rc=1, say="left a network")
    mac = inspect(name)["NetworkSettings"]["Networks"][b]["MacAddress"]
    until(lambda: mac in cards(name), timeout=60)
    proa("pause", name)
    refuse("network", "connect", a, name, rc=1, say="paused")
    proa("unpause", name)
    # Another run of its monitor's has the card that it has by now, and no other.
    started = inspect(name)["State"]["StartedAt"]
    inside(name, "poweroff -f")
    until(lambda: inspect(name)["State"]["StartedAt"] != started, timeout=60)
    until(lambda: inside(name, "true").rc == 0, timeout=240)
    assert list(cards(name)) == [mac]
    assert inside(name, ASK.format(card(name, b))).rc == 0
    assert ping(name + "x", inspect(name)["NetworkSettings"]["Networks"][b]["IPAddress"])


def first_link(first):
    (link,) = first.values()
    return link


def no_more_than_there_are_ports(name, nets, first):
    more = [f"{name}-{i}" for i in range(5)]
    for net in more:
        proa("network", "create", net)
    nets += more
    for net in more[:4]:
        proa("network", "connect", net, name)
    refuse("network", "connect", more[4], name, rc=1, say=["4 places for more network cards", "stop it first"])
    assert not [r for r in proa_rows("network", "addresses", more[4]) if r["Instance"]]
    until(lambda: len(cards(name)) == 5, timeout=60)
    for net in more[:4]:
        proa("network", "disconnect", net, name)
    until(lambda: cards(name) == first, timeout=60)


def the_next_command_repairs(name, a, b, first):
    """Killed at each step: what there is of the network is what the options say, inside, too."""
    verbs = {"connect": ["network", "connect", b, name], "disconnect": ["network", "disconnect", b, name]}
    steps = {"connect": steps_of(verbs["connect"]), "disconnect": steps_of(verbs["disconnect"])}
    until(lambda: cards(name) == first, timeout=60)
    ends = set()
    for verb in verbs:
        for point in points(steps[verb])[::3]:
            if verb == "disconnect":
                proa(*verbs["connect"])
            traced(verbs[verb], point)
            proa("ps")  # the next command
            networks = inspect(name)["NetworkSettings"]["Networks"]
            joined = b in networks
            ends.add((verb, joined))
            assert [r["State"] for r in proa_rows("network", "addresses", b) if r["Instance"] == name] == ["in use"] * joined, point
            wanted = {*first, *([networks[b]["MacAddress"]] if joined else [])}
            until(lambda: set(cards(name)) == wanted, timeout=60, message=lambda: f"{verb} {point}: {cards(name)}, not {wanted}")
            proa("network", "disconnect", "-f", b, name)
            until(lambda: cards(name) == first, timeout=60)
    assert ("connect", False) in ends and ("disconnect", True) in ends, ends
