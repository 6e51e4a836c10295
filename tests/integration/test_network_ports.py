"""Several networks, IPv6, fixed addresses, other containers' networks: with real packets, for both kinds."""

import glob
import json
import re

import pytest

from cli import inspect, proa, refuse, state, until
from test_crash import points, steps_of, traced


def ping(who, where, count=1, wait=2):
    return proa("exec", who, "ping", "-c", str(count), "-W", str(wait), where, check=False).rc == 0


def addresses(who, *flags):
    """{link: [addresses]} as the instance itself has them."""
    found = {}
    for line in proa("exec", who, "ip", *flags, "-o", "addr").out.splitlines():
        m = re.match(r"\d+: (\S+)\s+inet6? (\S+)/\d+", line)
        found.setdefault(m[1], []).append(m[2])
    return found


@pytest.fixture
def nets(name):
    """Two networks, each with IPv6: one by a subnet of its own, one that gets a local one."""
    made = [name + "-a", name + "-b"]
    proa("network", "create", "--subnet", "10.77.10.0/24", "--subnet", "fd77:10::/64", made[0])
    proa("network", "create", "--subnet", "10.77.11.0/24", "--ipv6", made[1])
    yield made
    proa("rm", "-f", *[i for i in proa("ps", "-a", "--format", "{{.Names}}").lines if i.startswith(name)], check=False)
    for n in made:
        proa("network", "rm", "-f", n)


def test_an_instance_on_two_networks(kind, flags, name, nets):
    a, b = nets
    proa("run", "-d", "--name", name, *flags, "--network", f"{a}:ip=10.77.10.20,ip6=fd77:10::20,mac=02:00:00:77:10:20,alias=db",
         "--network", b, "busybox", "sleep", "1000", timeout=90)
    for n, net in (("x", a), ("y", b)):
        proa("run", "-d", "--name", name + n, "--network", net, "busybox", "sleep", "1000")
    # What it has inside is what inspect says.
    inside, seen = addresses(name), inspect(name)["NetworkSettings"]["Networks"]
    assert "10.77.10.20" in inside["eth0"] and "fd77:10::20" in inside["eth0"]
    assert seen[a]["IPAddress"] == "10.77.10.20" and seen[a]["GlobalIPv6Address"] == "fd77:10::20"
    assert seen[a]["Aliases"] == ["db"] and seen[a]["MacAddress"] == "02:00:00:77:10:20"
    assert seen[b]["IPAddress"] in inside["eth1"] and seen[b]["GlobalIPv6Address"] in inside["eth1"]
    assert seen[b]["GlobalIPv6Address"].startswith("fd")
    assert "02:00:00:77:10:20" in proa("exec", name, "cat", "/sys/class/net/eth0/address").out
    # It reaches both, by either family, by name; they reach it; they do not reach each other.
    peers = {n: inspect(name + n)["NetworkSettings"]["Networks"][net] for n, net in (("x", a), ("y", b))}
    for n in "xy":
        assert ping(name, peers[n]["IPAddress"]) and ping(name, peers[n]["GlobalIPv6Address"]), n
    assert ping(name + "x", "10.77.10.20") and ping(name + "x", "fd77:10::20") and ping(name + "x", "db")
    assert ping(name + "y", seen[b]["IPAddress"]) and ping(name + "y", seen[b]["GlobalIPv6Address"])
    assert not ping(name + "x", peers["y"]["IPAddress"]) and not ping(name + "x", peers["y"]["GlobalIPv6Address"])
    # One default route, by the first network; none of the kernel's own making.
    routes = proa("exec", name, "ip", "route").out + proa("exec", name, "ip", "-6", "route").out
    assert [line for line in routes.splitlines() if line.startswith("default")][0].startswith("default via 10.77.10.1 dev eth0")
    assert len([line for line in routes.splitlines() if line.startswith("default")]) == 2
    assert ping(name, "fd77:10::1")
    # Addresses stay its own over a restart.
    proa("restart", "-t", "0", name, timeout=90)
    assert addresses(name)["eth1"][0] == seen[b]["IPAddress"]


def test_the_spoofer_gets_nowhere_by_ipv6(name, nets):
    """Another's address, another router, another's answer: nothing of that leaves the port."""
    a = nets[0]
    for n in ("", "v", "w"):
        proa("run", "-d", "--name", name + n, "--cap-add", "NET_ADMIN", "--network", a, "busybox", "sleep", "1000")
    victim = inspect(name + "v")["NetworkSettings"]["Networks"][a]["GlobalIPv6Address"]
    other = inspect(name + "w")["NetworkSettings"]["Networks"][a]["GlobalIPv6Address"]
    assert ping(name, victim) and ping(name + "w", victim)
    # An address that is not its own: not even an answer to the question who has it.
    proa("exec", name, "ip", "-6", "addr", "add", "fd77:10::66/64", "dev", "eth0")
    assert not ping(name + "w", "fd77:10::66")
    r = proa("exec", name, "ping", "-c", "1", "-W", "1", "-I", "fd77:10::66", victim, check=False)
    assert r.rc != 0
    # The victim's address on the attacker's link: the others still find the victim.
    proa("exec", name, "ip", "-6", "addr", "add", f"{other}/64", "dev", "eth0", check=False)
    proa("exec", name + "v", "ip", "-6", "neigh", "flush", "dev", "eth0", check=False)
    assert ping(name + "v", other)
    # Another hardware address.
    proa("exec", name, "ip", "link", "set", "eth0", "address", "02:00:00:00:66:66")
    assert not ping(name, victim) and not ping(name, "10.77.10.1")


def test_isolated_networks_keep_their_instances_apart(name, nets):
    net = name + "-i"
    proa("network", "create", "--isolate", "--ipv6", net)
    try:
        for n in ("", "x"):
            proa("run", "-d", "--name", name + n, "--network", net, "busybox", "sleep", "1000")
        x = inspect(name + "x")["NetworkSettings"]["Networks"][net]
        assert not ping(name, x["IPAddress"]) and not ping(name, x["GlobalIPv6Address"])
        assert ping(name, x["Gateway"]) and ping(name, x["IPv6Gateway"])
        # Nor by way of the gateway.
        proa("rm", "-f", name)
        proa("run", "-d", "--name", name, "--cap-add", "NET_ADMIN", "--network", net, "busybox", "sleep", "1000")
        proa("exec", name, "ip", "route", "add", x["IPAddress"], "via", x["Gateway"])
        assert not ping(name, x["IPAddress"])
        assert proa("network", "inspect", net).json[0]["Isolated"] is True
    finally:
        proa("rm", "-f", name, name + "x")
        proa("network", "rm", net)


def test_a_container_in_the_network_of_another(name, nets):
    proa("run", "-d", "--name", name, "--network", nets[0], "busybox", "sh", "-c", "echo hello >index.html; exec httpd -f -p 80")
    r = proa("run", "--rm", "--network", f"container:{name}", "busybox", "sh", "-c", "ip -o -4 addr show eth0; cat /etc/hosts; wget -q -O - http://127.0.0.1/")
    assert inspect(name)["NetworkSettings"]["Networks"][nets[0]]["IPAddress"] in r.out and r.lines[-1] == "hello"
    refuse("run", "--rm", "--network", f"container:{name}", "-p", "80", "busybox", "true", say="--publish needs a network")
    refuse("run", "--rm", "--vm", "--network", f"container:{name}", "busybox", "true", say="cannot share the container's")
    proa("stop", "-t", "0", name)
    refuse("run", "--rm", "--network", f"container:{name}", "busybox", "true", say="does not run")
    refuse("run", "--rm", "--network", "container:nobody", "busybox", "true", say="no such")


def test_what_networks_cannot_be(name, nets):
    a, b = nets
    for bad, say in ((["--subnet", "10.77.10.128/25"], "overlaps"), (["--subnet", "fd77:10::/80"], "overlaps"),
                     (["--subnet", "10.77.12.0/24", "--subnet", "10.77.13.0/24"], "two IPv4 subnets"),
                     (["--subnet", "fd77:12::/97"], "from 16 to 96"), (["--gateway", "fd77:12::1"], "needs a subnet"),
                     (["--subnet", "fd77:12::/64", "--gateway", "fd77:13::1"], "is not in subnet"),
                     (["--ipv6", "--opt", "mtu=1000"], "at least 1280")):
        refuse("network", "create", *bad, name + "-bad", rc=1, say=say)
    for bad, say in ((["--ip6", "fd77:10::1"], "not a free one"), (["--ip6", "fd77:11::2"], "not a free one"),
                     (["--ip6", "10.77.10.3"], "is not an IPv6 address")):
        refuse("run", "--rm", "--network", a, *bad, "busybox", "true", say=say)
    refuse("run", "--rm", "--ip6", "fd00::1", "busybox", "true", say="has no IPv6 subnet")
    refuse("run", "--rm", "--network", a, "--network", b, "--ip", "10.77.10.5", "busybox", "true", say="with several")
    refuse("run", "--rm", "--network", a, "--network", a, "busybox", "true", say="twice")
    refuse("run", "--rm", "--network", a, "--network", "none", "busybox", "true", say="stands alone")
    refuse("run", "--rm", "--network", f"{a}:colour=red", "busybox", "true", say="is not known")
    refuse("run", "--rm", "--network", a, "--network", "nowhere", "busybox", "true", say="no such network")
    proa("run", "-d", "--name", name, "--network", f"{a}:ip6=fd77:10::30", "busybox", "sleep", "1000")
    refuse("run", "--rm", "--network", a, "--ip6", "fd77:10::30", "busybox", "true", say="is in use by")


def links_of(name, nets):
    """{link inside: network} as inspect and `network addresses` agree on it."""
    seen = inspect(name)["NetworkSettings"]["Networks"]
    listed = {r["Network"]: r for n in nets for r in proa_rows("network", "addresses", n) if r["Instance"] == name}
    inside = addresses(name)
    found = {}
    for net, place in seen.items():
        if net in nets:
            assert listed[net]["Address"] == place["IPAddress"] and listed[net]["State"] == "in use", (net, place, listed)
            link = [link for link, have in inside.items() if place["IPAddress"] in have]
            assert link, (net, place, inside)
            found[link[0]] = net
    assert set(listed) == set(found.values())
    return found


def proa_rows(*args):
    return [json.loads(line) for line in proa(*args, "--format", "json").lines]


def test_connect_and_disconnect_while_running(kind, flags, name, nets):
    a, b = nets
    proa("run", "-d", "--name", name, *flags, "--network", a, "busybox", "sleep", "1000", timeout=90)
    proa("run", "-d", "--name", name + "x", "--network", b, "busybox", "sleep", "1000")
    assert not ping(name + "x", name)
    proa("network", "connect", "--ip", "10.77.11.50", "--alias", "late", b, name)
    assert links_of(name, nets) == {"eth0": a, "eth1": b}
    assert ping(name + "x", "late") and ping(name + "x", "10.77.11.50") and ping(name, name + "x")
    assert ping(name, inspect(name + "x")["NetworkSettings"]["Networks"][b]["GlobalIPv6Address"])
    assert "10.77.11.50" in proa("exec", name, "cat", "/etc/hosts").out
    refuse("network", "connect", b, name, rc=1, say="already")
    refuse("network", "connect", "--ip", "10.77.11.50", b, name + "x", rc=1, say="already")
    refuse("network", "rm", b, rc=1, say="is used by")
    # The first goes: its addresses, its names, its way out; the other one's takes over.
    proa("network", "disconnect", a, name)
    assert links_of(name, nets) == {"eth1": b}
    assert "default via 10.77.11.1 dev eth1" in proa("exec", name, "ip", "route").out
    assert "10.77.10" not in proa("exec", name, "cat", "/etc/hosts").out
    assert "10.77.11.1" in proa("exec", name, "cat", "/etc/resolv.conf").out and ping(name, name + "x")
    refuse("network", "disconnect", a, name, rc=1, say="is not on network")
    proa("network", "disconnect", "-f", a, name)
    # A restart keeps it so: the same address, on what is the only link now.
    proa("restart", "-t", "0", name, timeout=90)
    assert links_of(name, nets) == {"eth0": b}
    assert inspect(name)["NetworkSettings"]["Networks"][b]["IPAddress"] == "10.77.11.50"
    proa("network", "disconnect", b, name)
    assert set(addresses(name)) == {"lo"} and list(inspect(name)["NetworkSettings"]["Networks"]) == ["none"]
    proa("network", "connect", a, name)
    assert links_of(name, nets) == {"eth0": a} and ping(name, "10.77.10.1")


@pytest.mark.vm
def test_a_light_machine_keeps_the_networks_it_joined(name, nets):
    """In another run of its monitor's, and in its memory, wherever its cards were."""
    a, b = nets
    proa("run", "-d", "--name", name, "--vm", "--cap-add", "NET_ADMIN", "--restart", "always", "--network", a, "busybox", "sh", "-c",
         "while [ ! -e /dev/shm/end ]; do sleep .1; done", timeout=90)
    proa("run", "-d", "--name", name + "x", "--network", b, "busybox", "sleep", "1000")
    # Its free card leads nowhere, whatever is done with it inside; joining puts that right.
    proa("exec", name, "sh", "-c", "ip link set eth1 up; ip addr add 10.77.11.99/24 dev eth1")
    assert not ping(name, "10.77.11.1", wait=1) and not ping(name + "x", "10.77.11.99", wait=1)
    proa("network", "connect", b, name)
    assert "10.77.11.99" not in addresses(name)["eth1"] and ping(name, "10.77.11.1")
    proa("network", "disconnect", a, name)
    address = inspect(name)["NetworkSettings"]["Networks"][b]["IPAddress"]
    assert links_of(name, nets) == {"eth1": b} and ping(name, name + "x") and ping(name + "x", name)
    proa("exec", name, "touch", "/dev/shm/kept")
    proa("snapshot", "create", "--memory", "--name", name, name, timeout=60)
    proa("network", "disconnect", b, name)
    assert set(addresses(name)) == {"lo"} and not ping(name + "x", address, wait=1)
    proa("snapshot", "restore", "--force", name, name, timeout=60)
    proa("exec", name, "ls", "/dev/shm/kept")
    assert links_of(name, nets) == {"eth0": b} and ping(name + "x", name)
    proa("network", "connect", a, name)
    assert links_of(name, nets) == {"eth0": b, "eth1": a}
    started = inspect(name)["State"]["StartedAt"]
    proa("exec", name, "touch", "/dev/shm/end")
    until(lambda: inspect(name)["State"]["StartedAt"] != started and state(name) == "running", timeout=60)
    assert proa("exec", name, "ls", "/dev/shm/kept", check=False).rc, "it has booted"
    assert links_of(name, nets) == {"eth0": b, "eth1": a} and ping(name + "x", name) and ping(name, "10.77.10.1")
    proa("pause", name)
    refuse("network", "disconnect", a, name, rc=1, say="paused")
    proa("snapshot", "rm", name)


@pytest.mark.vm
def test_a_machine_is_connected_for_its_next_start(name, nets):
    a, b = nets
    proa("create", "--name", name, "--vm", "--network", a, "busybox", "sleep", "1000")
    proa("network", "connect", "--ip6", "fd77:10::1", a, name, check=False)
    refuse("network", "connect", "--ip", "10.77.10.9", b, name, rc=1, say="not a free one")
    proa("network", "connect", "--ip", "10.77.11.51", b, name)
    proa("start", name, timeout=90)
    assert links_of(name, nets) == {"eth0": a, "eth1": b} and "10.77.11.51" in addresses(name)["eth1"]
    # One more than it was started on is what it has a card for.
    proa("network", "create", name + "-c")
    nets.append(name + "-c")
    proa("network", "connect", "proa", name)
    refuse("network", "connect", name + "-c", name, rc=1, say=["no network card left", "stop it first", "machines.json"])
    assert not [r for r in proa_rows("network", "addresses", name + "-c") if r["Instance"]]
    proa("network", "disconnect", "proa", name)
    proa("network", "connect", name + "-c", name)
    proa("stop", "-t", "0", name)
    assert [r["State"] for r in proa_rows("network", "addresses", b) if r["Instance"] == name] == ["reserved"]
    proa("network", "disconnect", b, name)
    assert [r["Instance"] for r in proa_rows("network", "addresses", b)] == [""]
    # Started on none, it has a card all the same.
    for net in (a, name + "-c"):
        proa("network", "disconnect", net, name)
    proa("start", name, timeout=90)
    assert set(addresses(name)) == {"lo"}
    proa("network", "connect", b, name)
    assert links_of(name, nets) == {"eth0": b} and ping(name, "10.77.11.1")


def test_who_cannot_be_connected(name, nets):
    proa("run", "-d", "--name", name, "--network", "host", "busybox", "sleep", "1000")
    refuse("network", "connect", nets[0], name, rc=1, say="another's network")
    refuse("network", "connect", nets[0], "nobody", rc=1, say="no such")
    refuse("network", "connect", "nowhere", name, rc=1, say="")
    refuse("network", "connect", nets[0], rc=1, say="requires")


@pytest.mark.slow
def test_connect_and_disconnect_killed_at_each_step(kind, flags, name, nets):
    """After a kill the next command finds links, names and rules as the store has them."""
    a, b = nets
    proa("run", "-d", "--name", name, *flags, "--network", a, "busybox", "sleep", "1000", timeout=90)
    proa("run", "-d", "--name", name + "x", "--network", b, "busybox", "sleep", "1000")
    other = inspect(name + "x")["NetworkSettings"]["Networks"][b]["IPAddress"]
    verbs = {"connect": ["network", "connect", b, name], "disconnect": ["network", "disconnect", b, name]}
    steps = {"connect": steps_of(verbs["connect"]), "disconnect": steps_of(verbs["disconnect"])}
    done = {"connect": 0, "disconnect": 0}
    for verb in verbs:
        for point in points(steps[verb])[::2]:
            if verb == "disconnect":
                proa(*verbs["connect"])
            traced(verbs[verb], point)
            proa("ps")  # the next command
            found = links_of(name, nets)
            assert found.get("eth0") == a and set(addresses(name)) == {"lo", *found}, (verb, point, found)
            connected = b in found.values()
            assert ping(name, other, wait=2 if connected else 1) == connected, (verb, point, found)
            done[verb] += connected
            proa("network", "disconnect", "-f", b, name)
    assert 0 < done["disconnect"], "no kill came before it was done"


def lookup(who, what, *flags):
    """The addresses that a name has for an instance, or the names that an address has."""
    r = proa("exec", who, "nslookup", *flags, what, check=False)
    return sorted(re.findall(r"(?:Address(?: \d+)?: |name = )(\S+)", r.out.split("\n\n", 1)[-1])) if r.rc == 0 else []


def test_names_of_all_networks_and_of_no_other(kind, flags, name, nets):
    a, b = nets
    proa("run", "-d", "--name", name, *flags, "--network", a, "--network", b, "busybox", "sleep", "1000", timeout=90)
    for n, net in (("x", a), ("y", b)):
        proa("run", "-d", "--name", name + n, "--network", f"{net}:alias=service", "busybox", "sleep", "1000")
    proa("run", "-d", "--name", name + "z", "--network", f"{a}:alias=service", "busybox", "sleep", "1000")
    at = {n: inspect(name + n)["NetworkSettings"]["Networks"][net] for n, net in (("x", a), ("y", b), ("z", a))}

    def both(n):
        return sorted([at[n]["IPAddress"], at[n]["GlobalIPv6Address"]])
    # It finds the names of both; they find it by their own network's address only, and not each other.
    until(lambda: lookup(name, name + "x") == both("x"), message=lambda: repr(proa("exec", name, "nslookup", name + "x", check=False)))
    until(lambda: lookup(name, name + "y") == both("y"))
    mine = inspect(name)["NetworkSettings"]["Networks"]
    assert lookup(name + "x", name) == sorted([mine[a]["IPAddress"], mine[a]["GlobalIPv6Address"]])
    assert lookup(name + "x", name + "y") == [] and lookup(name + "y", name + "x") == []
    # A service's name has all its instances; backwards there is a name.
    assert lookup(name + "x", "service") == sorted(both("x") + both("z"))
    until(lambda: lookup(name, "service") == sorted(both("x") + both("y") + both("z")))
    assert name + "z" in lookup(name + "x", at["z"]["IPAddress"]) and name + "z" in lookup(name, at["z"]["GlobalIPv6Address"])
    # Its resolver is its own: nobody else gets an answer from it, and it goes with it.
    resolvers = glob.glob("/run/proa/networks/resolvers/*")
    assert len(resolvers) == 1
    with open(resolvers[0] + "/port") as f:
        port = f.read()
    r = proa("exec", name + "x", "nslookup", f"-port={port}", name + "y", "10.77.10.1", check=False)
    assert at["y"]["IPAddress"] not in r.out
    proa("stop", "-t", "0", name)
    assert glob.glob("/run/proa/networks/resolvers/*") == []


@pytest.mark.parametrize("word", ["--mac", "--mac-address"])
def test_a_hardware_address_of_its_own(name, word):
    proa("run", "-d", "--name", name, word, "02:00:00:77:66:01", "busybox", "sleep", "1000")
    proa("network", "create", name)
    try:
        proa("network", "connect", word, "02:00:00:77:66:02", name, name)
        links = proa("exec", name, "ip", "link").out
        assert "02:00:00:77:66:01" in links and "02:00:00:77:66:02" in links
    finally:
        proa("rm", "-f", name)
        proa("network", "rm", name)
