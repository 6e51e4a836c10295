"""The rows of docs/PARITY.md: for each flag of `run`, how it is given and how its effect is seen.

A row is (flag, words, look): `words` are added to an instance that is started once for all rows of its
group, and look(place) must be true there. Groups are instances, because some flags exclude each other:
MAIN, SECOND, and HOST, which no machine takes. Rows of OWN start what they look at themselves.
"""

import glob
import json
import os
import re
import subprocess

from cli import inspect, proa, refuse, until
from sandbox import STATE, cgroup_mounts
from test_kernel import cpio

PLACE = "/var/tmp/proa-parity"
PORT = {"container": 18551, "light": 18552, "disk": 18553}
ADDRESS = {"container": "10.77.0.9", "light": "10.77.0.10", "disk": "10.77.0.11"}
ADDRESS6 = {"container": "fd77::9", "light": "fd77::10", "disk": "fd77::11"}
MAC = {"container": "02:42:0a:4d:00:09", "light": "02:42:0a:4d:00:0a", "disk": "02:42:0a:4d:00:0b"}
PROFILE = {"defaultAction": "SCMP_ACT_ALLOW",
           "syscalls": [{"names": ["symlink", "symlinkat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}
FILES = {"env": "FROM_FILE=yes\n", "labels": "from.file=yes\n", "auth.json": "{}\n", "registries.json": "{}\n",
         "seccomp.json": json.dumps(PROFILE), "iso": "iso".ljust(4096), "certs/x": "", "shared/there": "shared\n", "user-data": "#cloud-config\nlocale: parity-user\n",
         "meta-data": "{\"parity\": \"parity-meta\"}\n",
         "network-config": "{\"version\": 2, \"ethernets\": {\"parity-net\": {\"match\": {\"name\": \"e*\"}}}}\n"}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ5IG5vYm9keSBhdCBhbGwsIGZvciBhIHRlc3Q parity-key"


def make_files():
    for name, text in FILES.items():
        os.makedirs(os.path.dirname(f"{PLACE}/{name}"), exist_ok=True)
        with open(f"{PLACE}/{name}", "w") as f:
            f.write(text)
    with open(f"{PLACE}/initrd", "wb") as f:
        f.write(cpio([("of-its-own", 0o100644, b"yes")]))


def limit_of(pid, ident, controller, v1, v2):
    """What the control group of the instance that the process is in says, by the hierarchies that there are here; names may have
    stars. One that is somebody else's, too, says nothing of it."""
    with open(f"/proc/{pid}/cgroup") as f:
        groups = dict(line.rstrip("\n").split(":", 2)[1:] for line in f)
    groups = {n: g for n, g in groups.items() if ident in g}
    for point, kind, options in cgroup_mounts():
        names = [n for n in groups if controller in n.split(",") or (kind == "cgroup2" and not n)]
        files = glob.glob(f"{point}{groups[names[0]]}/{v1 if kind == 'cgroup' else v2}") if names else []
        if (kind == "cgroup2" or controller in options.split(",")) and files:
            with open(files[0]) as f:
                return f.read().strip()
    return None


class Place:
    """An instance to look at."""

    def __init__(self, kind, name):
        self.kind, self.name = kind, name

    def sh(self, command):
        r = proa("exec", self.name, "sh", "-c", command, check=False)
        return r.out + r.err

    def inspect(self):
        return inspect(self.name)

    def config(self):
        with open(f"{STATE}/instances/{self.inspect()['Id']}/config.json") as f:
            return json.load(f)

    def bundle(self):
        with open(f"{STATE}/instances/{self.inspect()['Id']}/proa.json") as f:
            return f.read()

    def addresses(self):
        """A system of its own asks for them by DHCP when it likes: there it is what the network has for it."""
        return json.dumps(self.inspect()["NetworkSettings"]) if self.kind == "disk" else self.sh("ip addr")

    def limit(self, v1, v2):
        """What a file of its control group says: of the machine's own, or of the host's, by either version's name."""
        if self.kind != "container":
            return self.sh(f"cat /sys/fs/cgroup/{v2}").strip()
        return self.sh(f"cat /sys/fs/cgroup/{v2} 2>/dev/null || cat /sys/fs/cgroup/*/{v1} | head -1").strip()

    def status(self, key):
        return self.sh(f"grep ^{key}: /proc/self/status").split()[-1]

    def host_pid(self):
        """The process that runs it on the host: the first process, or QEMU."""
        pid = self.inspect()["State"]["Pid"]
        if self.kind == "container":
            return pid
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            pids = f.read().split()
        return next(p for p in pids if open(f"/proc/{p}/comm").read().startswith("qemu"))

    def host_limit(self, controller, v1, v2):
        """What a file of the control group says that it has on the host."""
        return limit_of(self.host_pid(), self.inspect()["Id"], controller, v1, v2)

    def host_status(self, key):
        with open(f"/proc/{self.host_pid()}/status") as f:
            return next(line.split(":")[1].strip() for line in f if line.startswith(key + ":"))

    def has_capability(self, number):
        return int(self.status("CapBnd"), 16) >> number & 1


def kernel(kind):
    return proa("kernel", "ls", "--format", "{{.Name}}").lines[0]


def says(command, wanted):
    return lambda p: wanted in p.sh(command)


def seeded(word):
    """On the disk for cloud-init, which is the last."""
    return lambda p: word.encode() in proa("exec", p.name, "sh", "-c", "cat $(ls /dev/vd? | tail -n 1)", binary=True).out


def cloud_init(p):
    """It is told what there is to tell; others refuse to do without."""
    if p.kind == "disk":
        return seeded("cidata")(p)
    r = proa("create", *(["--vm"] if p.kind == "light" else []), "--cloud-init=false", "busybox", check=False)
    assert r.rc == 125, repr(r)
    return r.err.strip().split(": ")[-1]


def never_pulls(p):
    refuse("create", "--pull", "never", "not-there:1", say="not-there")
    return True


def processors(p):
    return p.host_status("Cpus_allowed_list") == "0"


def memory(p):
    if p.kind == "container":
        return p.limit("memory.limit_in_bytes", "memory.max") == str(200 << 20)
    # A PC's Linux has 64 MiB less for bounce buffers, because of --max-memory.
    return 50000 < int(re.search(r"MemTotal: *(\d+)", p.sh("cat /proc/meminfo")).group(1)) <= 200 << 10


def checked(p):
    """Once a check was made; a disk's first ones may have found no agent yet."""
    def made():
        h = p.inspect()["State"]["Health"]
        return h["Status"] != "starting" and h["Log"] and h["Log"][-1]["ExitCode"] == 4 and h
    return until(made, timeout=60)


def has_initrd(p):
    with open(json.loads(p.bundle())["initramfs"], "rb") as f:
        return b"of-its-own" in f.read()


def qemu_has(p, word):
    """Among the arguments of its QEMU."""
    pid = p.inspect()["State"]["Pid"]
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        lines = [open(f"/proc/{c}/cmdline").read() for c in f.read().split()]
    return any(word in line for line in lines if "qemu-system" in line)


def time_is(v1, v2, *values):
    """A limit of processors: of a container's group, of a light machine's inside and outside, of a PC's outside."""
    def look(p):
        seen = [] if p.kind == "disk" else [p.limit(v1, v2)]
        if p.kind != "container":
            seen.append(p.host_limit("cpu", v1, v2) or "")
        return all(set(values) & set(s.split()) for s in seen)
    return look


def of_the_host(controller, v1, v2, value):
    """A limit of the host's: of a container's group, or of that around QEMU."""
    def look(p):
        seen = p.limit(v1, v2) if p.kind == "container" else p.host_limit(controller, v1, v2)
        return seen and seen.split()[-1] == value
    return look


def half(p):
    return time_is("cpu.cfs_quota_us", "cpu.max", "50000")(p) and (p.kind != "disk" or p.sh("nproc") == "1\n")


def told(word, command, wanted):
    """A disk's system may do as it is told by cloud-init: here it is seen to be told (and in test_cloud.py, to do it)."""
    return lambda p: seeded(word)(p) if p.kind == "disk" else says(command, wanted)(p)


def published(p):
    return f"80/tcp -> 127.0.0.1:{PORT[p.kind]}" in proa("port", p.name).out


MAIN = [
    ("add-host", ["h1:10.9.9.9"], told("10.9.9.9\\th1", "cat /etc/hosts", "10.9.9.9\th1")),
    ("annotation", ["a.b=c"], lambda p: p.config()["annotations"] == {"a.b": "c"}),
    ("authfile", [f"{PLACE}/auth.json"], never_pulls),
    ("blkio-weight", ["200"], of_the_host("blkio", "blkio*.weight", "io.bfq.weight", "200")),
    ("boot", ["disk,network"], lambda p: qemu_has(p, "bootindex=2")),
    ("cap-add", ["NET_ADMIN"], lambda p: p.has_capability(12)),
    ("cap-drop", ["CHOWN"], lambda p: not p.has_capability(0)),
    ("cdrom", [f"{PLACE}/iso"], lambda p: qemu_has(p, "-cd,")),
    ("cert-dir", [f"{PLACE}/certs"], never_pulls),
    ("cpu", ["qemu64"], says("cat /proc/cpuinfo", "QEMU Virtual CPU")),
    ("cpu-period", ["50000"], time_is("cpu.cfs_period_us", "cpu.max", "50000")),
    ("cpu-quota", ["45000"], time_is("cpu.cfs_quota_us", "cpu.max", "45000")),
    ("cpu-shares", ["512"], time_is("cpu.shares", "cpu.weight", "512", "20")),
    ("cpuset-cpus", ["0"], processors),
    ("cpuset-mems", ["0"], lambda p: p.host_limit("cpuset", "cpuset.mems", "cpuset.mems") == "0"),
    ("cloud-init", [], cloud_init),
    ("cloud-user", ["parity-name"], seeded("parity-name")),
    ("creds", ["u:p"], never_pulls),
    ("device", ["/dev/null:/dev/nil"], says("echo x >/dev/nil && ls -l /dev/nil", "1,   3")),
    ("device-cgroup-rule", ["c 1:11 rwm"], lambda p: any(d.get("minor") == 11 for d in
                                                         p.config()["linux"]["resources"]["devices"])),
    ("disk", ["size=20m"], says("cat /sys/block/vdb/size", "40960")),
    ("disk-bus", ["virtio"], lambda p: qemu_has(p, "virtio-blk")),
    ("disk-size", ["64m"], says("cat /sys/block/vda/size", "131072")),
    ("dns", ["10.1.2.3"], told('"addresses":["10.1.2.3"]', "cat /etc/resolv.conf", "nameserver 10.1.2.3")),
    ("dns-option", ["ndots:3"], says("cat /etc/resolv.conf", "options ndots:3")),
    ("dns-search", ["example.net"], told('"search":["example.net"]', "cat /etc/resolv.conf", "search example.net")),
    ("domainname", ["nis.example"], says("cat /proc/sys/kernel/domainname", "nis.example")),
    ("env", ["GIVEN=yes"], says("env", "GIVEN=yes")),
    ("env-file", [f"{PLACE}/env"], says("env", "FROM_FILE=yes")),
    ("expose", ["8081"], lambda p: "8081/tcp -> " in proa("port", p.name).out),
    ("firmware", ["bios"], says("ls /sys/firmware/efi", "No such")),
    ("gpus", ["all"], None),
    ("graphics", ["vnc"], lambda p: "vnc.sock" in proa("console", "--vnc", p.name).out),
    ("group-add", ["4242"], says("id -G", "4242")),
    ("health-cmd", ["echo seen; exit 4"], lambda p: checked(p)["Log"][-1]["Output"] == "seen\n"),
    ("health-interval", ["2s"], lambda p: checked(p)["Log"][-1]["ExitCode"] == 4),
    ("health-retries", ["1"], lambda p: checked(p)["Status"] == "unhealthy"),
    ("health-start-interval", ["1s"], lambda p: len(checked(p)["Log"]) >= 1),
    ("health-start-period", ["1s"], lambda p: checked(p)["FailingStreak"] >= 1),
    ("health-timeout", ["20s"], lambda p: "timeout" not in checked(p)["Log"][-1]["Output"]),
    ("hostname", ["given"], told('"local-hostname":"given"', "hostname", "given")),
    ("init", [], lambda p: p.sh("cat /proc/1/comm").strip() != "sh"),
    ("initrd", [f"{PLACE}/initrd"], has_initrd),
    ("ip", [ADDRESS], lambda p: ADDRESS[p.kind] in p.addresses()),
    ("ip6", [ADDRESS6], lambda p: ADDRESS6[p.kind] in p.addresses()),
    ("kernel", [kernel], lambda p: f"kernel/{kernel(p.kind)}/" in p.bundle()),
    ("kernel-arg", ["proa.parity=yes"], says("cat /proc/cmdline", "proa.parity=yes")),
    ("label", ["given=yes"], lambda p: p.inspect()["Config"]["Labels"]["given"] == "yes"),
    ("label-file", [f"{PLACE}/labels"], lambda p: p.inspect()["Config"]["Labels"]["from.file"] == "yes"),
    ("link", ["other"], None),
    ("log-driver", ["json-file"], lambda p: p.inspect()["HostConfig"]["LogConfig"]["Type"] == "json-file"),
    ("log-opt", ["max-size=1m"], lambda p: "1048576" in json.dumps(p.inspect()["HostConfig"]["LogConfig"])
     or "1m" in json.dumps(p.inspect()["HostConfig"]["LogConfig"])),
    ("mac-address", [MAC], lambda p: MAC[p.kind] in p.sh("ip link")),
    ("max-cpus", ["3"], lambda p: qemu_has(p, "maxcpus=3")),
    ("max-memory", ["512m"], lambda p: qemu_has(p, "maxmem=512M")),
    ("memory", ["200m"], memory),
    ("memory-reservation", ["100m"], of_the_host("memory", "memory.soft_limit_in_bytes", "memory.low", str(100 << 20))),
    ("memory-swap", ["300m"], lambda p: p.config()["linux"]["resources"]["memory"]["swap"] == 300 << 20),
    ("meta-data", [f"{PLACE}/meta-data"], seeded("parity-meta")),
    ("mount", ["type=tmpfs,target=/mt,tmpfs-size=4m"], says("df -k /mt", "4096")),
    ("name", None, lambda p: p.inspect()["Name"].lstrip("/") == p.name),
    ("network", ["parity"], lambda p: "parity" in p.inspect()["NetworkSettings"]["Networks"]),
    ("network-alias", ["by-alias"], lambda p: ADDRESS[p.kind] in proa(
        "run", "--rm", "--network", "parity", "busybox", "nslookup", "by-alias.", "10.77.0.1", check=False).out),
    ("network-connections", ["999"], lambda p: p.inspect()["HostConfig"]["NetworkConnections"] == "999" and "ct count over 999" in
     subprocess.run(["nft", "list", "set", "inet", "proa", "few"], check=True, text=True, capture_output=True).stdout),
    ("network-priority", ["high"], lambda p: p.inspect()["HostConfig"]["NetworkPriority"] == "high" and " : 0:6" in
     subprocess.run(["nft", "list", "map", "bridge", "proa", "preferred"], check=True, text=True, capture_output=True).stdout),
    ("network-rate", ["1gbit"], lambda p: p.inspect()["HostConfig"]["NetworkRate"] == "1gbit" and "rate over 125000000 bytes" in
     subprocess.run(["nft", "list", "limits"], check=True, text=True, capture_output=True).stdout),
    ("nic", ["virtio"], lambda p: qemu_has(p, "virtio-net")),
    ("no-warm", [], lambda p: json.loads(p.bundle())["cold"]),
    ("oom-score-adj", ["500"], says("cat /proc/self/oom_score_adj /proc/1/oom_score_adj", "500\n500")),
    ("os", ["linux"], lambda p: p.inspect()["Kind"] == "vm"),
    ("pci", ["0000:00:00.0"], None),
    ("pids-limit", ["77"], lambda p: p.limit("pids.max", "pids.max") == "77"),
    ("platform", ["linux/amd64"], lambda p: refuse("create", "--platform", "linux/s390x", "busybox", say="s390x")),
    ("publish", [lambda kind: f"127.0.0.1:{PORT[kind]}:80"], published),
    ("publish-all", [], lambda p: "8081/tcp -> " in proa("port", p.name).out),
    ("pull", ["missing"], never_pulls),
    ("registries-conf", [f"{PLACE}/registries.json"], never_pulls),
    ("rtc", ["localtime"], lambda p: qemu_has(p, "base=localtime")),
    ("security-opt", [f"seccomp={PLACE}/seccomp.json"], says("ln -s a /tmp/b", "not supported")),
    ("shm-size", ["8m"], says("df -k /dev/shm", "8192")),
    ("ssh-key", [KEY], seeded("parity-key")),
    ("stop-signal", ["USR1"], lambda p: p.inspect()["Config"]["StopSignal"] in ("USR1", "SIGUSR1")),
    ("stop-timeout", ["20"], lambda p: p.inspect()["Config"]["StopTimeout"] == 20),
    ("sysctl", ["net.ipv4.ip_default_ttl=77"], says("cat /proc/sys/net/ipv4/ip_default_ttl", "77")),
    ("tls-verify", [], never_pulls),
    ("tmpfs", ["/t:size=4m"], says("df -k /t", "4096")),
    ("tpm", [], lambda p: qemu_has(p, "tpm")),
    ("ulimit", ["nofile=100:200"], says("ulimit -n; ulimit -H -n", "100\n200")),
    ("usb", ["1234:5678"], None),
    ("user-data", [f"{PLACE}/user-data"], seeded("parity-user")),
    ("volume", [f"{PLACE}/shared:/v"], says("cat /v/there", "shared")),
    ("workdir", ["/wd"], says("pwd", "/wd")),
]

# Flags that mean nothing alone.
NEEDS = {"memory-swap": ["--memory", "200m"], "max-memory": ["--memory", "200m"], "ip": ["--network", "parity"], "ip6": ["--network", "parity"], "mac-address": ["--network", "parity"],
         "network-alias": ["--network", "parity"]}

SECOND = [
    ("cpus", ["0.5"], half),
    ("entrypoint", ["sleep"], lambda p: p.sh("cat /proc/1/cmdline").startswith("sleep\0")),
    ("network-config", [f"{PLACE}/network-config"], seeded("parity-net")),  # says what --dns does, too
    ("no-healthcheck", [], lambda p: "Health" not in p.inspect()["State"]),
    ("no-hosts", [], lambda p: p.name not in p.sh("cat /etc/hosts") and p.inspect()["Id"][:12] not in
     p.sh("cat /etc/hosts")),
    ("oom-kill-disable", [], lambda p: p.config()["linux"]["resources"]["memory"]["disableOOMKiller"]),
    ("privileged", [], lambda p: p.has_capability(21)),
    ("read-only", [], says("echo x >/x", "Read-only")),
    ("restart", ["on-failure:3"], lambda p: p.inspect()["HostConfig"]["RestartPolicy"] ==
     {"Name": "on-failure", "MaximumRetryCount": 3}),
    ("volumes-from", [lambda kind: f"parity-{kind}-MAIN"], says("cat /v/there", "shared")),
]


def same_namespace(kind):
    return lambda p: os.readlink(f"/proc/{p.inspect()['State']['Pid']}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}")


def host_group(p):
    with open(f"/proc/{p.host_pid()}/cgroup") as f:
        return "/proa-parity/" + p.inspect()["Id"] in f.read()


HOST = [
    ("cgroup-parent", ["/proa-parity"], host_group),
    ("cgroupns", ["host"], same_namespace("cgroup")),
    ("ipc", ["host"], same_namespace("ipc")),
    ("pid", ["host"], same_namespace("pid")),
    ("userns", ["host"], lambda p: p.kind != "container" or same_namespace("user")(p)),
    ("uts", ["host"], same_namespace("uts")),
]
