"""Two hosts on one machine: this one, and one in the namespace of the other end of the wire, each with a store of its own."""

import contextlib
import json
import shutil

from cli import PROA, command, proa
from sandbox import INSIDE, OUTSIDE


@contextlib.contextmanager
def second_host(root, busybox_layer):
    """The other host's proa."""
    def there(*args, **kw):
        return command(["nsenter", "--net=/run/netns/outside", PROA, "--root", root, *args], **kw)
    there("import", "-", "busybox:latest", input=busybox_layer, binary=True)
    try:
        yield there
    finally:
        there("system", "prune", "--force")
        shutil.rmtree(root)


@contextlib.contextmanager
def spanning(there, network, number, flags=(), six="fd77:20::/64"):
    """A network of both hosts: each gives out its half of the subnets. (this host's proa, the other's)"""
    made = []
    subnets = ["--subnet", "10.77.20.0/24", *(["--subnet", six] if six else [])]
    try:
        for run, peer, part in ((proa, OUTSIDE, "10.77.20.0/25"), (there, INSIDE, "10.77.20.128/25")):
            run("network", "create", *subnets, "--ip-range", part, "--vxlan-id", str(number), "--peer", peer, *flags, network)
            made.append(run)
        yield proa, there
    finally:
        for run in made:
            run("network", "rm", network)


def seen(run, name):
    return json.loads(run("inspect", name).out)[0]


def addresses(run, name, network):
    """Of both families."""
    there = seen(run, name)["NetworkSettings"]["Networks"][network]
    return there["IPAddress"], there["GlobalIPv6Address"]


def inside(run, name):
    """Runs a program where the instance's links are."""
    return ["nsenter", f"--net=/proc/{seen(run, name)['State']['Pid']}/ns/net"]


def explained(run, what):
    return run("policy", "explain", what, check=False).out
