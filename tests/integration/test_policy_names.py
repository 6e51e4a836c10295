"""Policies by names of outside hosts: what an instance was told in answer to its own question it may reach.

The world outside has a name server (a dnsmasq) and an echo on all of its addresses. The host asks that
server, so what an instance asks goes to proa-names, from there to its network's dnsmasq, and out.
"""

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

import policy_model
from cli import inspect, proa, refuse, until
from policy_documents import admin, apply, network
from sandbox import INSIDE, OUTSIDE, STATE, run
from test_policy import nothing_stays  # noqa: F401 (fixture)

PEER = os.path.join(os.path.dirname(__file__), "names_peer.py")
NET, GATEWAY, SUBNET6 = "named", "10.88.0.1", "fd88:1::/64"
OUT6, IN6 = "2001:db8:88::2", "2001:db8:88::1"
FLOOR_S = 60  # names.h: NAMES_LEAST_S
HOSTS = {  # name: addresses, seconds
    "www.example.com": (["198.51.100.21", "2001:db8:88::21"], 5),
    "api.example.com": (["198.51.100.22"], 5),
    "a.b.example.org": (["198.51.100.23"], 3600),
    "example.org": (["198.51.100.24"], 3600),
    "cdn.example.net": (["198.51.100.25", "2001:db8:88::25"], 3600),
    "other.example.com": (["198.51.100.26"], 3600),
    "lie1.lies.example": (["127.0.0.1", "::1"], 60),
    "lie2.lies.example": ([INSIDE, IN6], 60),
    "lie3.lies.example": (["169.254.169.254", "fd00:ec2::254"], 60),
    "lie4.lies.example": (["10.88.0.77", "fd88:1::77"], 60),
    "lie5.lies.example": ([GATEWAY, "0.0.0.0", "224.0.0.1", "255.255.255.255"], 60),
    "lie6.lies.example": (["100.100.100.200", "198.51.100.27"], 60),
}
ALIASES = {"alias.example.com": "cdn.example.net", "far.example.com": "alias.example.com"}
MANY = [f"many{i}.example.com" for i in range(5)]  # a thousand addresses each


class Process:
    def __init__(self, *argv):
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "up\n"

    def do(self, *what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Instance(Process):
    """A container, and somebody in its network namespace who asks and connects."""

    def __init__(self, name, *flags, networks=(NET,)):
        self.name = name
        where = [f for n in networks for f in ("--network", n)]
        proa("run", "-d", "--name", name, *where, *flags, "busybox", "sleep", "100000")
        super().__init__("nsenter", f"--net=/proc/{inspect(name)['State']['Pid']}/ns/net", sys.executable, PEER, "ask")

    def lookup(self, name, kind="A", over="udp", server=GATEWAY):
        return self.do("dns", server, name, kind, over)

    def reach(self, address, port=80, over="tcp"):
        return self.do("reach", over, address, port)

    def knows(self):
        """What `policy explain` says was learned: {address: name}."""
        lines = [x.split() for x in proa("policy", "explain", self.name).lines if x.startswith("learned: ")]
        return {x[1]: x[3] for x in lines}


def write_world(folder):
    lines = ["no-resolv", "no-hosts", "port=53", f"listen-address={OUTSIDE}", "bind-interfaces", "cache-size=0"]
    for name, (addresses, seconds) in HOSTS.items():
        lines += [f"host-record={name},{a},{seconds}" for a in addresses]
    lines += [f"cname={alias},{target}" for alias, target in ALIASES.items()]
    hosts = [f"198.19.{i * 4 + k // 250}.{k % 250 + 1} {name}\n" for i, name in enumerate(MANY) for k in range(1000)]
    (folder / "many").write_text("".join(hosts))
    (folder / "dnsmasq.conf").write_text("\n".join([*lines, f"addn-hosts={folder}/many"]) + "\n")
    os.chmod(folder, 0o755)


@pytest.fixture(scope="module")
def outside(house, tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    addresses = sorted({a for name, (list_, _) in HOSTS.items() if "lie" not in name for a in list_} | {"198.51.100.27", OUT6})
    enter = ["nsenter", "--net=/run/netns/outside"]
    for a in addresses:
        run(*enter, "ip", "addr", "add", a + ("/64" if ":" in a else "/24"), "dev", "eth0", *(["nodad"] if ":" in a else []))
    run(*enter, "ip", "route", "add", "local", "198.19.0.0/16", "dev", "lo")
    run("ip", "addr", "add", IN6 + "/64", "dev", "up0", "nodad")
    run("ip", "route", "add", "198.19.0.0/16", "via", OUTSIDE)
    (folder / "resolv.conf").write_text(f"nameserver {OUTSIDE}\n")
    run("mount", "--bind", folder / "resolv.conf", os.path.realpath("/etc/resolv.conf"))
    server = subprocess.Popen([*enter, "dnsmasq", "--keep-in-foreground", f"--conf-file={folder}/dnsmasq.conf", "--user=root",
                               "--pid-file="], stdin=subprocess.DEVNULL)
    echo = Process(*enter, sys.executable, PEER, "serve", "80", "443")
    proa("network", "create", "--subnet", "10.88.0.0/24", "--subnet", SUBNET6, NET)
    proa("run", "--rm", "--network", NET, "busybox", "true")  # its bridge and its dnsmasq stay
    yield echo
    proa("network", "rm", NET)
    echo.end()
    server.kill()
    server.wait()
    run("umount", os.path.realpath("/etc/resolv.conf"))
    run("ip", "route", "del", "198.19.0.0/16")
    run("ip", "addr", "del", IN6 + "/64", "dev", "up0")
    run(*enter, "ip", "route", "del", "local", "198.19.0.0/16", "dev", "lo")
    for a in addresses:
        run(*enter, "ip", "addr", "del", a + ("/64" if ":" in a else "/24"), "dev", "eth0")


@pytest.fixture
def make(outside, name):
    made = []

    def one(suffix="", *flags, **kw):
        made.append(Instance(name + suffix, *flags, **kw))
        return made[-1]
    yield one
    for i in made:
        i.end()
    proa("rm", "-f", *{i.name for i in made}, check=False, timeout=60)


def allow(*names, name="names", ports=(80,), **spec):
    """Out to hosts of these names and nowhere else."""
    rule = {"to": [{"domainNames": list(names)}], **({"ports": [{"port": p} for p in ports]} if ports else {})}
    return network(name, {"podSelector": {}, "policyTypes": ["Egress"], "egress": [rule], **spec})


def learners(one=None):
    """Pids of proa-names: of the keepers, and of their relays."""
    found = {"keeper": [], "relay": []}
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if words[0].startswith(b"names:"):
            found["keeper"].append(int(path.split("/")[2]))
        elif words[0] == b"proa-names":
            found["relay"].append(int(path.split("/")[2]))
    return found


def nobody_learns():
    """They end a moment after they are told to."""
    until(lambda: learners() == {"keeper": [], "relay": []})


def first(name, six=False):
    return next(a for a in HOSTS[name][0] if (":" in a) == six)


# --- what may be reached ---

def test_after_the_answer_and_not_before(make):
    apply(allow("www.example.com"))
    a, b = make("a"), make("b")
    four, six = first("www.example.com"), first("www.example.com", True)
    assert not a.reach(four) and not a.reach(six)
    assert a.lookup("www.example.com") == [0, [four]]
    assert a.reach(four) and not a.reach(four, 443) and not a.reach(four, 80, "udp")
    assert not a.reach(six), "of the other family nothing was asked"
    assert a.lookup("WWW.example.com", "AAAA") == [0, [six]]
    assert a.reach(six) and a.knows() == {four: "www.example.com", six: "www.example.com"}
    assert not b.reach(four) and not b.reach(six) and b.knows() == {}, "what one has learned opens nothing for another"
    assert b.lookup("www.example.com")[0] == 0 and b.reach(four)
    assert a.lookup("other.example.com") == [0, [first("other.example.com")]] and not a.reach(first("other.example.com"))
    assert a.lookup("nothing.example.com")[0] in (2, 3, 5)


def test_a_second_root_learns_in_its_own_table(outside, house, name):
    root, saved = STATE + "/names", house / "names.tar"

    def there(*args, **kw):
        return proa("--root", root, *args, **kw)
    proa("save", "-o", saved, "busybox", timeout=60)
    there("load", "-i", saved, timeout=60)
    there("run", "-d", "--name", name, "busybox", "sleep", "1000")
    seen = there("inspect", name).json[0]
    asker = Process("nsenter", f"--net=/proc/{seen['State']['Pid']}/ns/net", sys.executable, PEER, "ask")
    try:
        apply(network("names", {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"domainNames": ["www.example.com"]}]}]}),
              run=there)
        reach = ["reach", "tcp", "198.51.100.21", 80]
        assert not asker.do(*reach)
        assert "198.51.100.21" in str(asker.do("dns", seen["NetworkSettings"]["Networks"]["proa"]["Gateway"], "www.example.com", "A", "udp"))
        assert asker.do(*reach)
        assert "www.example.com" in there("flows", "--format", "json").out
    finally:
        asker.end()
        there("policy", "rm", "names")
        there("rm", "-f", name)
        there("system", "prune", "-f", timeout=60)
        shutil.rmtree(root)


def test_the_first_packet_passes(make):
    """The answer comes when the address may be used, so nothing has to be sent twice."""
    apply(allow("www.example.com", ports=()))
    a = make()
    for _ in range(20):
        subprocess.run(["nft", "flush", "set", "inet", "proa-policy", sets()[0]], check=True)
        address = a.lookup("www.example.com")[1][0]
        begin = time.monotonic()
        assert a.reach(address, 80, "udp") and a.reach(address)
        assert time.monotonic() - begin < 0.9, "a first packet was lost"


def sets():
    """The sets of lists of names, IPv4 first."""
    text = subprocess.run(["nft", "list", "table", "inet", "proa-policy"], capture_output=True, text=True, check=True).stdout
    parts = [p for p in text.split("\tset ") if "ipv4_addr . ipv4_addr\n" in p or "ipv6_addr . ipv6_addr\n" in p]
    return sorted(p.split()[0] for p in parts if p.startswith("s"))


def test_wildcards_and_aliases(make):
    apply(allow("*.example.org", "far.example.com"))
    a = make()
    deep, bare, cdn = first("a.b.example.org"), first("example.org"), first("cdn.example.net")
    assert a.lookup("a.b.example.org")[1] == [deep] and a.reach(deep)
    assert a.lookup("example.org")[1] == [bare] and not a.reach(bare)
    assert a.lookup("cdn.example.net")[1] == [cdn] and not a.reach(cdn), "the alias is allowed, its target is not"
    assert a.lookup("alias.example.com")[1] == [cdn] and not a.reach(cdn)
    assert a.lookup("far.example.com")[1] == [cdn] and a.reach(cdn)
    assert a.lookup("far.example.com", "AAAA")[1] == [first("cdn.example.net", True)] and a.reach(first("cdn.example.net", True))
    assert a.knows()[cdn] == "far.example.com"


def test_only_what_the_network_was_asked_teaches(make):
    """An answer from another server is none of ours, and neither is one to another kind of question."""
    to_server = {"to": [{"ipBlock": {"cidr": OUTSIDE + "/32"}}]}
    document = allow("www.example.com")
    document["spec"]["egress"].append(to_server)
    apply(document)
    a = make()
    four = first("www.example.com")
    assert a.lookup("www.example.com", server=OUTSIDE)[1] == [four] and not a.reach(four)
    assert a.lookup("www.example.com", "MX")[1] == [] and not a.reach(four)
    assert a.lookup("www.example.com", over="tcp", server=OUTSIDE)[1] == [four] and not a.reach(four)
    assert a.lookup("www.example.com", over="tcp")[1] == [four] and a.reach(four)
    assert a.lookup(a.name)[1] == [inspect(a.name)["NetworkSettings"]["Networks"][NET]["IPAddress"]], "instances' names are answered"


def test_lies(make, name):
    """Whatever a server outside says: host, metadata and other instances are never opened by a name."""
    apply(allow("*.lies.example", ports=()))
    victim = make("v", "--ip", "10.88.0.77", "--ip6", "fd88:1::77", "-l", "app=victim")
    echo = Process("nsenter", f"--net=/proc/{inspect(victim.name)['State']['Pid']}/ns/net", sys.executable, PEER, "serve", "80")
    own = Process(sys.executable, PEER, "serve", "80")
    try:
        a = make("a")
        for lie, (addresses, _) in HOSTS.items():
            if not lie.endswith("lies.example"):
                continue
            for kind in ("A", "AAAA"):
                told = a.lookup(lie, kind)[1]
                assert sorted(told) == sorted(x for x in addresses if (":" in x) == (kind == "AAAA"))
                for address in told:
                    good = address == "198.51.100.27"
                    assert a.reach(address) == good and a.reach(address, 80, "udp") == good, (lie, address)
        assert set(a.knows()) <= {"198.51.100.27", "10.88.0.77", "fd88:1::77", GATEWAY, INSIDE, IN6}
        denied = {f["To"] for f in map(json.loads, proa("flows", "--denied", "--from", a.name, "--format", "json", "--no-trunc").lines)}
        assert {victim.name, "host"} <= denied
    finally:
        echo.end()
        own.end()


def test_many_addresses(make):
    """A thousand in one answer are learned before it is given; there is a bound, and behind it no answer."""
    apply(allow("*.example.com", ports=()))
    a = make()
    for i, each in enumerate(MANY):
        code, addresses = a.lookup(each, over="tcp")
        if i < 4:
            assert code == 0 and len(addresses) == 1000
            assert all(a.reach(x, 80) for x in (addresses[0], addresses[499], addresses[999]))
        else:
            assert (code, addresses) == (2, []), "no room"
    assert len(a.knows()) == 4000
    b = make("b")
    assert b.lookup(MANY[4], over="tcp")[0] == 0, "the bound is each instance's own"


# --- how long ---

@pytest.mark.slow
def test_until_it_expires(make):
    """An address goes with its answer's time; a connection that uses it stays."""
    apply(allow("www.example.com", "a.b.example.org"))
    a = make()
    short, long = first("www.example.com"), first("a.b.example.org")
    assert a.lookup("www.example.com")[0] == 0 and a.lookup("a.b.example.org")[0] == 0
    begin = time.monotonic()
    assert a.do("hold", short, 80) and a.reach(long)
    time.sleep(FLOOR_S - 10)
    assert a.reach(short) and a.do("use")
    time.sleep(max(0, begin + FLOOR_S + 3 - time.monotonic()))
    assert not a.reach(short), "its answer is not good any more"
    assert a.do("use"), "a connection that has begun is not cut"
    assert a.reach(long) and set(a.knows()) == {long}
    seen = [json.loads(x) for x in proa("flows", "--from", a.name, "--format", "json", "--no-trunc").lines]
    assert {f["To"] for f in seen if f["Target"] == short} == {"www.example.com"}, "remembered for a day"
    apply(allow("a.b.example.org"))
    assert not a.do("use"), "what the policies do not say any more is cut"


def test_a_change_of_policies_forgets_nothing(make):
    apply(allow("www.example.com"))
    a = make()
    four = first("www.example.com")
    assert a.lookup("www.example.com")[0] == 0 and a.do("hold", four, 80)
    apply(allow("www.example.com", "api.example.com"))
    assert a.reach(four) and a.do("use") and not a.reach(first("api.example.com"))
    assert a.lookup("api.example.com")[0] == 0 and a.reach(first("api.example.com"))
    apply(allow("*.example.com", ports=(443,)))
    assert a.reach(four, 443) and not a.reach(four) and not a.do("use")
    apply(allow("*.example.org"))
    assert not a.reach(four, 443) and a.knows() == {}
    proa("policy", "rm", "names")
    assert a.reach(four)
    nobody_learns()
    assert a.lookup("www.example.com")[0] == 0


def test_a_socket_that_stays_asks_whom_it_should(make):
    """The kernel keeps a translation for as long as a socket is used; nobody is asked who is not there any more."""
    a = make()
    four = first("www.example.com")
    assert a.do("again", GATEWAY, "www.example.com") == 0
    for names in (["www.example.com"], ["www.example.com", "api.example.com"], ["*.example.com"]):
        apply(allow(*names))
        subprocess.run(["nft", "flush", "set", "inet", "proa-policy", sets()[0]], check=True)
        assert not a.reach(four) and a.do("again", GATEWAY, "www.example.com") == 0 and a.reach(four)
    proa("policy", "rm", "names")
    assert a.do("again", GATEWAY, "www.example.com") == 0


def test_a_new_name_forgets_nothing(make, name):
    """Of the instance; what selects it by its name is asked anew."""
    document = allow("www.example.com")
    document["spec"]["podSelector"] = {"matchLabels": {"kind": "a"}}
    by_name = allow("api.example.com", name="other")
    by_name["spec"]["podSelector"] = {"matchLabels": {"io.proa.name": name + "b"}}
    apply(document, by_name)
    a = make("a", "-l", "kind=a")
    four, api = first("www.example.com"), first("api.example.com")
    assert a.lookup("www.example.com")[0] == 0 and a.reach(four)
    assert a.lookup("api.example.com")[0] == 0 and not a.reach(api)
    proa("rename", a.name, name + "b")
    a.name = name + "b"
    assert a.reach(four) and not a.reach(api)
    assert a.lookup("api.example.com")[0] == 0 and a.reach(api)


def test_an_address_that_is_given_on_knows_nothing(make):
    apply(allow("www.example.com"))
    four, six = first("www.example.com"), first("www.example.com", True)
    flags = ("--ip", "10.88.0.50", "--ip6", "fd88:1::50")
    a = make("a", *flags)
    assert a.lookup("www.example.com")[0] == 0 and a.lookup("www.example.com", "AAAA")[0] == 0 and a.reach(four) and a.reach(six)
    proa("rm", "-f", a.name)
    nobody_learns()
    b = make("b", *flags)
    assert not b.reach(four) and not b.reach(six) and b.knows() == {}


# --- what is killed ---

@pytest.mark.parametrize("who", ["keeper", "relay"])
def test_killed(make, who):
    """Then names are not answered, what was learned stays, and the next command starts it again."""
    apply(allow("www.example.com", "api.example.com"))
    a = make()
    four = first("www.example.com")
    assert a.lookup("www.example.com")[0] == 0
    before = learners()
    assert [len(v) for v in before.values()] == [1, 1]
    os.kill(before[who][0], signal.SIGKILL)
    nobody_learns()
    assert a.lookup("api.example.com")[0] is None and a.lookup("api.example.com", over="tcp")[0] is None
    assert a.reach(four), "the kernel has it"
    proa("ps")
    assert a.lookup("api.example.com")[0] == 0 and a.reach(first("api.example.com")) and a.reach(four)
    assert set(a.knows()) == {four, first("api.example.com")}
    now = learners()
    assert [len(v) for v in now.values()] == [1, 1] and now != before


def test_killed_commands(make):
    """A command that is killed while it starts, replaces or ends proa-names: the next one puts it right."""
    a = make()
    documents = [allow("www.example.com"), allow("*.example.com"), None]
    for turn in range(18):
        document = documents[turn % 3]
        argv = ["policy", "apply", "-"] if document else ["policy", "rm", "names"]
        p = subprocess.Popen([os.path.join(os.environ["PROA_BUILD"], "proa"), *argv], stdin=subprocess.PIPE,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        p.stdin.write(json.dumps(document).encode())
        p.stdin.close()
        try:
            p.wait(timeout=0.004 * (turn + 1))
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
        stored = proa("policy", "inspect", "names", check=False)
        wanted = 1 if stored.rc == 0 else 0
        until(lambda: [len(v) for v in learners().values()] == [wanted, wanted], message=lambda: f"turn {turn}: {learners()}")
        assert a.lookup("www.example.com")[0] == 0 and a.reach(first("www.example.com"))


def test_what_it_may_do(make):
    """What parses has no privilege; what has one has that one only, and parses nothing."""
    apply(allow("www.example.com"))
    make()
    now = learners()

    def status(pid):
        with open(f"/proc/{pid}/status") as f:
            return {k: v.split() for k, v in (line.rstrip("\n").split(":", 1) for line in f)}
    relay, keeper = status(now["relay"][0]), status(now["keeper"][0])
    for s in (relay, keeper):
        assert s["Uid"][0] != "0" and set(s["Uid"]) == set(s["Uid"][:1]) and s["NoNewPrivs"] == ["1"] and s["Seccomp"] == ["2"]
        assert s["Groups"] == []
    assert relay["Uid"] != keeper["Uid"]
    assert {int(relay[c][0], 16) for c in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {0}
    assert {int(keeper[c][0], 16) for c in ("CapEff", "CapPrm", "CapBnd")} == {1 << 12} and int(keeper["CapInh"][0], 16) == 0
    kinds = [os.readlink(p).split(":")[0] for p in glob.glob(f"/proc/{now['relay'][0]}/fd/*")]
    assert set(kinds) <= {"/dev/null", "socket"} and kinds.count("socket") == 4


def test_messages_that_are_none(make):
    """Junk is refused or dropped, and the next question has its answer."""
    apply(allow("www.example.com"))
    a = make()
    code = ("import os,socket,struct\n"
            f"to=('{GATEWAY}',53)\n"
            "u=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
            "for n in (0,1,11,12,40,600,601,4000,60000): u.sendto(os.urandom(n),to)\n"
            "for i in range(400): u.sendto(struct.pack('!HHHHHH',i,0x100,1,0,0,0)+b'\\x03www\\x07example\\x03com\\0\\0\\1\\0\\1',to)\n"
            "for junk in (b'', b'\\0', b'\\0\\1x', b'\\xff\\xff'+os.urandom(65535), b'\\0\\x0c'+os.urandom(12)):\n"
            " for _ in range(8):\n"
            "  try:\n"
            "   t=socket.create_connection(to,2); t.sendall(junk); t.close()\n"
            "  except OSError: pass\n")
    pid = inspect(a.name)["State"]["Pid"]
    before = learners()
    subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", code], check=True, timeout=60)
    assert until(lambda: a.lookup("www.example.com")[0] == 0) and a.lookup("www.example.com", over="tcp")[0] == 0
    assert learners() == before


# --- what is said ---

def test_what_is_said(make):
    documents = [allow("www.example.com", "*.example.org")]
    apply(*documents)
    a = make()
    four = first("www.example.com")
    told = proa("policy", "test", a.name, "www.example.com", "80")
    assert told.out == "allow: NetworkPolicy default/names: egress[0], once it has asked its name server for www.example.com\n"
    told = proa("policy", "test", a.name, "www.example.com", "443", check=False)
    assert (told.rc, told.out) == (1, "deny: NetworkPolicy default/names: no egress rule fits\n")
    refuse("policy", "test", a.name, "nobody-such", "80", rc=125, say="nobody-such")
    lines = proa("policy", "explain", a.name).lines
    assert "    egress[0]: allow to domains {www.example.com, *.example.org} on 80/tcp" in lines and a.knows() == {}
    party = {"kind": "instance", "stack": "default", "labels": {"io.proa.name": a.name}, "deny": False, "network": NET}
    for asked in (False, True):
        if asked:
            assert a.lookup("www.example.com")[0] == 0
        world = {"kind": "world", "address": four, "names": ["www.example.com"] if asked else []}
        for port in (80, 443):
            model = policy_model.allowed(documents, party, world, "tcp", port)
            told = proa("policy", "test", a.name, four, port, check=False).rc == 0
            assert model == told == a.reach(four, port) == (asked and port == 80)
    seen = [json.loads(x) for x in proa("flows", "--from", a.name, "--format", "json", "--no-trunc").lines]
    assert {(f["To"], f["Target"], f["Verdict"], f["Port"]) for f in seen} >= {
        ("www.example.com", four, "allowed", "80/tcp"), ("www.example.com", four, "denied", "443/tcp")}
    assert [f["Rule"] for f in seen if f["Verdict"] == "allowed"] == ["NetworkPolicy default/names: egress[0]"]
    by_name = proa("flows", "--from", a.name, "--to", "www.example.com", "--format", "{{.Target}}").lines
    assert set(by_name) == {four}
    documents = proa("policy", "suggest", "--since", "1m").out.split("---\n")[1:]
    mine = next(d for d in (json.loads(x.split("\n", 1)[1]) for x in documents) if d["metadata"]["name"] == a.name)
    assert mine["spec"]["egress"] == [{"to": [{"domainNames": ["www.example.com"]}], "ports": [{"protocol": "TCP", "port": 80}]}]
    proa("policy", "apply", "--dry-run", "-", input=json.dumps(mine))


def test_administrators_allow_by_name(make):
    apply(admin("names", 5, {"egress": [{"action": "Allow", "to": [{"domainNames": ["api.example.com"]}]},
                                        {"action": "Deny", "to": [{"networks": ["0.0.0.0/0", "::/0"]}]}]}))
    a = make()
    api, www = first("api.example.com"), first("www.example.com")
    assert a.lookup("api.example.com")[0] == 0 and a.lookup("www.example.com")[0] == 0
    assert a.reach(api) and a.reach(api, 443, "udp") and not a.reach(www)


def test_several_networks(make, name):
    """One proa-names for all of an instance's networks, in front of the dnsmasq that knows all their names."""
    second = name + "n"
    proa("network", "create", "--subnet", "10.89.0.0/24", second)
    try:
        apply(allow("www.example.com"))
        four = first("www.example.com")
        a = make("a", networks=(NET, second))
        b = make("b", networks=(second,))
        assert a.lookup("www.example.com")[0] == 0 and a.reach(four)
        assert a.lookup(b.name)[0] == 0, "of both networks' names"
        proa("network", "disconnect", second, a.name)
        assert a.reach(four) and a.lookup("www.example.com")[0] == 0
        proa("network", "connect", second, a.name)
        assert a.lookup("www.example.com")[0] == 0 and a.reach(four) and [len(v) for v in learners().values()] == [2, 2]
        assert b.lookup("www.example.com", server="10.89.0.1")[0] == 0 and b.reach(four)
        proa("rm", "-f", a.name, b.name)
        nobody_learns()
    finally:
        proa("rm", "-f", name + "a", name + "b", check=False)
        proa("network", "rm", second)


def test_the_tables_come_back(make):
    """Somebody flushed the rules: what was learned is gone with them, and is learned again."""
    apply(allow("www.example.com"))
    a = make()
    four = first("www.example.com")
    assert a.lookup("www.example.com")[0] == 0 and a.reach(four)
    subprocess.run(["nft", "delete", "table", "inet", "proa-policy"], check=True)
    assert a.lookup("www.example.com")[0] == 2, "there is nowhere to learn to"
    proa("run", "--rm", "--network", NET, "busybox", "true")
    assert not a.reach(four) and a.lookup("www.example.com")[0] == 0 and a.reach(four)


# --- both kinds, with their own resolvers ---

def test_both_kinds(outside, flags, name):
    apply(allow("www.example.com"))
    four = first("www.example.com")
    proa("run", "-d", *flags, "--name", name, "--network", NET, "busybox", "sleep", "100000", timeout=120)

    def reach(port=80):
        return proa("exec", name, "sh", "-c", f"echo x | nc -w 3 {four} {port}", check=False, timeout=60).out == "x\n"
    assert not reach()
    assert four in proa("exec", name, "nslookup", "www.example.com", check=False, timeout=60).out
    assert reach() and not reach(443)
    assert f"learned: {four} as www.example.com" in proa("policy", "explain", name).out
    proa("stop", "-t", "1", name, timeout=60)
    nobody_learns()
    proa("start", name, timeout=120)
    assert not reach() and four in proa("exec", name, "nslookup", "www.example.com", check=False, timeout=60).out and reach()
