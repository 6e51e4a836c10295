"""What the benchmarks share: a fair place, peers, interleaved timing, and printing.

Both sides get their stores on a fresh loop ext4 and /run on tmpfs, in mount and network namespaces
of the benchmark's own: the state of the machine's own disk makes any ratio noise. What is compared
is run in turn (A B C A B C ...), and medians are shown with how many runs they are of.
"""

import contextlib
import ctypes
import glob
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests/integration"))

from oci_clients import CONTAINERS_CONF, DOCKERD_FLAGS  # noqa: E402

PROA = os.environ.get("PROA", os.path.join(TOP, "build/proa"))
BUILD = os.path.dirname(PROA)
PLACE = "/mnt/bench"
IMAGE = "localhost/bench:latest"
NEAR, FAR = "198.51.100.1", "198.51.100.2"
DOCKER = "/usr/bin/docker"
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def sandbox(argv):
    """Executes this program again in namespaces of its own, then mounts the place."""
    if os.environ.get("PROA_BENCH_INSIDE") != "1":
        os.environ["PROA_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc",
                              "--propagation", "private", "sh", "-c", '"$@"; exit $?', "sh", "/usr/bin/python3", *argv])
    fd, image = tempfile.mkstemp(prefix="proa-bench-", dir="/var/tmp")
    os.truncate(fd, 12 << 30)
    os.close(fd)
    sh("mkfs.ext4", "-q", "-F", "-m", "0", image)
    sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/mnt")
    os.mkdir(PLACE)
    sh("mount", "-o", "loop", image, PLACE)
    os.unlink(image)
    sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    os.makedirs("/run/lock")
    for name in ("proa", "containers", "docker", "lxc", "containerd", "cni"):
        os.makedirs(f"{PLACE}/{name}")
        os.makedirs(f"/var/lib/{name}", exist_ok=True)
        sh("mount", "--bind", f"{PLACE}/{name}", f"/var/lib/{name}")
    wire()


def wire():
    """A way out of this network namespace, so that engines that ask for a default route find one."""
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1")
    sh("ip", "addr", "add", NEAR + "/24", "dev", "up0")
    for link in ("up0", "up1"):
        sh("ip", "link", "set", link, "up")
    sh("ip", "route", "add", "default", "via", FAR)


class World:
    """A network namespace of an engine's own, so that none pays for the rules of another: entered by `with`."""

    def __init__(self):
        self.process = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo up; exec sleep 100000"], stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()
        with self:
            wire()

    @staticmethod
    def _move(path):
        fd = os.open(path, os.O_RDONLY)
        try:
            if LIBC.setns(fd, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns " + path)
        finally:
            os.close(fd)

    def __enter__(self):
        self._move(f"/proc/{self.process.pid}/ns/net")

    def __exit__(self, *_):
        self._move("/proc/1/ns/net")

    def close(self):
        self.process.kill()
        self.process.wait()


def sh(*argv, **kw):
    kw.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run([str(a) for a in argv], capture_output=True, **kw)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}: {done.stderr.decode(errors='replace').strip()[-400:]}")
    return done.stdout.decode(errors="replace")


def rootfs(*programs):
    """A static busybox with links, as a tar: the same image for everyone; and static programs, into bin."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("bin", "etc", "tmp", "proc", "sys", "dev", "root", "run", "var"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add("/bin/busybox", "bin/busybox")
        for program in programs:
            tar.add(program, "bin/" + os.path.basename(program))
        for applet in ("sh", "true", "sleep", "cat"):
            entry = tarfile.TarInfo("bin/" + applet)
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
        for name, text in (("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("etc/group", "root:x:0:\n")):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    path = f"{PLACE}/rootfs.tar"
    with open(path, "wb") as f:
        f.write(buffer.getvalue())
    return path


class Proa:
    name = "proa"

    def __init__(self, tar):
        sh(PROA, "import", tar, IMAGE)
        self.version = "proa " + sh(PROA, "--version").strip().split("\n")[0].split()[-1]

    def run(self, *flags):
        return [PROA, "run", "--rm", *flags, IMAGE, "true"]

    def start(self, name, *flags):
        return [PROA, "run", "-d", "--name", name, *flags, IMAGE, "sleep", "100000"]

    def remove(self, name):
        return [PROA, "rm", "-f", name]

    def exec(self, name):
        return [PROA, "exec", name, "true"]

    def close(self):
        subprocess.run(f"{PROA} rm -f $({PROA} ps -aq); {PROA} system prune -f -a", shell=True, capture_output=True)


class Load:
    """bench/load.c: both ends of what is put on a network."""

    def __init__(self):
        self.path = f"{PLACE}/load"
        sh("gcc", "-O2", "-static", "-o", self.path, os.path.join(TOP, "bench/load.c"))

    def serve(self, *enter):
        return subprocess.Popen([*enter, self.path, "serve", "5001"], stdin=subprocess.DEVNULL)

    def measure(self, what, enter, address, port, seconds):
        """Bytes a second of "send", microseconds of "ping"."""
        return float(sh(*enter, self.path, what, address, port, seconds))


def enter(pid):
    """Into the network of a process."""
    return ["nsenter", f"--net=/proc/{pid}/ns/net"]


def prepare_machines():
    """The kernel's package, from which Proa's machines are ready to start; None where it was not fetched."""
    package = subprocess.run([TOP + "/scripts/fetch", "--print", "kernel"], capture_output=True, text=True).stdout.strip()
    if not package:
        print("\nmachines: no kernel cached (scripts/fetch kernel)")
        return None
    sh(BUILD + "/proa-kernel", "--out", "/var/lib/proa/cache/kernel", "--package", package)
    return package


def forget_cgroups():
    """The peers leave their parent groups behind; empty ones are taken away."""
    subprocess.run("find /sys/fs/cgroup -mindepth 2 -maxdepth 3 -depth -type d '(' -path '*/docker*' -o -path '*/libpod_parent*' "
                   "-o -path '*/lxc.pivot*' ')' -exec rmdir {} + 2>/dev/null", shell=True)


class Podman:
    name = "podman"

    def __init__(self, tar):
        conf = f"{PLACE}/containers.conf"
        with open(conf, "w") as f:
            f.write(CONTAINERS_CONF)
        os.environ["CONTAINERS_CONF"] = conf
        self.command = ["/usr/bin/podman", "--log-level=error"]
        # crun wants the cgroup2 side of a hybrid layout out of its sight.
        subprocess.run(["umount", "/sys/fs/cgroup/unified"], capture_output=True)
        sh(*self.command, "import", tar, IMAGE)
        self.version = sh(*self.command, "--version").strip() + ", " + sh("crun", "--version").split("\n")[0]

    def run(self, *flags):
        return [*self.command, "run", "--rm", *flags, IMAGE, "true"]

    def start(self, name, *flags):
        return [*self.command, "run", "-d", "--name", name, *flags, IMAGE, "sleep", "100000"]

    def remove(self, name):
        return [*self.command, "rm", "-f", "-t", "0", name]

    def exec(self, name):
        return [*self.command, "exec", name, "true"]

    def close(self):
        subprocess.run([*self.command, "rm", "-a", "-f", "-t", "0"], capture_output=True)
        forget_cgroups()


class Docker:
    name = "docker"

    def __init__(self, tar):
        self.log = open(f"{PLACE}/dockerd.log", "wb")
        os.makedirs("/run/docker", exist_ok=True)
        self.daemon = subprocess.Popen(
            ["/usr/sbin/dockerd", "--data-root", f"{PLACE}/docker", "--exec-root", "/run/docker", "--pidfile", "/run/dockerd.pid",
             "--host", "unix:///run/bench-docker.sock", *DOCKERD_FLAGS],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.command = [DOCKER, "--host", "unix:///run/bench-docker.sock"]
        end = time.monotonic() + 40
        while subprocess.run([*self.command, "info"], capture_output=True).returncode:
            if time.monotonic() > end or self.daemon.poll() is not None:
                self.close()
                raise RuntimeError("dockerd does not answer: " + open(f"{PLACE}/dockerd.log").read()[-600:])
            time.sleep(0.2)
        sh(*self.command, "import", tar, IMAGE)
        self.version = "docker " + sh(*self.command, "version", "--format", "{{.Server.Version}}").strip()

    run, start = Podman.run, Podman.start

    def remove(self, name):
        return [*self.command, "rm", "-f", name]

    def exec(self, name):
        return [*self.command, "exec", name, "true"]

    def close(self):
        subprocess.run(f"{' '.join(self.command)} rm -f $({' '.join(self.command)} ps -aq)", shell=True, capture_output=True)
        self.daemon.terminate()
        try:
            self.daemon.wait(20)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
        forget_cgroups()


class Lxc:
    """lxc-execute: no image, no store; the closest there is to a bare start."""
    name = "lxc"

    def __init__(self, tar):
        root = f"{PLACE}/lxc/bench/rootfs"
        os.makedirs(root)
        sh("tar", "-xpf", tar, "-C", root)
        with open(f"{PLACE}/lxc/bench/config", "w") as f:
            f.write(f"lxc.rootfs.path = dir:{root}\nlxc.uts.name = bench\nlxc.net.0.type = empty\nlxc.mount.auto = proc sys\n"
                    "lxc.apparmor.profile = unconfined\n")
        self.version = "lxc " + sh("lxc-execute", "--version").strip()

    def run(self, *flags):
        return ["lxc-execute", "-P", f"{PLACE}/lxc", "-n", "bench", "--", "/bin/true"]

    def close(self):
        pass


def peers(tar, *kinds, apart=False):
    """Those of the peers that can be had here; the reason is printed for one that cannot. apart: each in a World."""
    found = []
    for kind in kinds:
        world = World() if apart else contextlib.nullcontext()
        try:
            with world:
                found.append(kind(tar))
            found[-1].world = world
        except (RuntimeError, OSError) as error:
            print(f"  ({kind.name} left out: {str(error).strip()[-300:]})")
    print("versions: " + "; ".join(p.version for p in found) + f"; Linux {os.uname().release}, {os.cpu_count()} CPUs")
    return found


def once(argv, check=True, env=None):
    start = time.perf_counter()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
    seconds = time.perf_counter() - start
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.decode(errors='replace').strip()[-300:]}")
    return seconds


def interleaved(commands, n, warm=2, after=None):
    """{name: argv} run in turn n times; {name: [seconds]}. One that fails is left out, and said so. after: {name: what to
    do when it has been run, untimed}."""
    times = {name: [] for name in commands}
    for number in range(n + warm):
        for name in list(times):
            try:
                seconds = once(commands[name])
            except RuntimeError as error:
                print(f"  ({name} left out: {error})")
                del times[name]
                continue
            if number >= warm:
                times[name].append(seconds)
            if after and name in after:
                after[name]()
    return times


def show(what, times, base="proa"):
    """One line a peer: median, spread, and how many times the base's median it is."""
    if not times.get(base):
        print(f"{what}: no figure")
        return {}
    medians = {name: statistics.median(v) for name, v in times.items() if v}
    print(f"\n{what} (N={len(times[base])}, median, [min..max])")
    for name, value in medians.items():
        ratio = "" if name == base else f"   {value / medians[base]:6.1f} x {base}"
        print(f"  {name:<14}{value * 1000:9.1f} ms  [{min(times[name]) * 1000:.1f}..{max(times[name]) * 1000:.1f}]{ratio}")
    return medians


def phases(flags, n=9):
    """Where the time of a start goes, by the clock of each system call that marks a phase."""
    out = f"{PLACE}/trace"
    marks = {}
    for _ in range(n):
        subprocess.run(["strace", "-f", "-ttt", "-qq", "-e", "signal=none", "-e",
                        "trace=execve,execveat,clone,clone3,vfork,mount,move_mount,pivot_root,exit_group,seccomp", "-o", out, PROA, "run", "--rm",
                        *flags, IMAGE, "true"], stdin=subprocess.DEVNULL, capture_output=True)
        yield_marks(out, marks)
    return {k: statistics.median(v) for k, v in marks.items()}


def yield_marks(path, marks):
    begin = None
    with open(path) as f:
        for line in f:
            parts = line.split(None, 2)
            if len(parts) < 3:
                continue
            at = float(parts[1])
            begin = begin or at
            for key, text in (("command started", None), ("monitor executed", '["proa-monitor"'), ("root mounted", "pivot_root("),
                              ("filter installed", "seccomp("), ("workload executed", '"/bin/true"')):
                if text and text in parts[2] and "= -1" not in parts[2]:
                    marks.setdefault(key, []).append(at - begin)
            last = at
    marks.setdefault("command ended", []).append(last - begin)


def template(argv):
    """Runs a machine until there are templates for the next: of its shape, and of its image."""
    end = time.monotonic() + 180
    before = len(glob.glob("/run/proa/templates/*/socket"))
    once(argv)
    while len(glob.glob("/run/proa/templates/*/socket")) < before + 2:
        if time.monotonic() > end or glob.glob("/run/proa/templates/*/failed"):
            raise RuntimeError("no template was made")
        time.sleep(0.1)


def spare():
    """Waits until a machine waits for the next run."""
    end = time.monotonic() + 60
    while not any("spare=" in open(path).read() for path in glob.glob("/run/proa/instances/*/timing")):
        if time.monotonic() > end:
            raise RuntimeError("no spare machine was made")
        time.sleep(0.05)


KINDS_OF_MEMORY = ("guest", "translated code", "heap and buffers", "program and libraries")


def private(pid, name):
    """KiB of private pages of a QEMU, by kind; the guest's are those of the file of this name that it has written to. None
    when it maps no such file. What it has translated is the only memory that it both writes and executes."""
    kib, kind, found = dict.fromkeys(KINDS_OF_MEMORY, 0), None, False
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            fields = line.split()
            if "-" in fields[0] and not fields[0].endswith(":"):
                path = fields[5] if len(fields) > 5 else ""
                kind = ("guest" if name in line else "translated code" if "wx" in fields[1] else
                        "program and libraries" if path.startswith("/") else "heap and buffers")
                found |= kind == "guest"
            elif fields[0] in ("Private_Dirty:", "Private_Clean:") and (fields[0] == "Private_Dirty:" or kind != "guest"):
                kib[kind] += int(fields[1])
    return kib if found else None


def machine_phases(n, flags=()):
    """Where the time of a machine's start goes: proa-vm writes a line for each phase beside its socket."""
    marks = {}
    for _ in range(n):
        subprocess.run([PROA, "run", "-d", "--vm", *flags, "--name", "bench-phases", IMAGE, "sleep", "100"], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for path in glob.glob("/run/proa*/instances/*/timing"):
            with open(path) as f:
                for line in f:
                    name, _, value = line.strip().partition("=")
                    marks.setdefault(name, []).append(int(value) / 1000)
        subprocess.run([PROA, "rm", "-f", "bench-phases"], check=True, stdout=subprocess.DEVNULL)
    return {k: statistics.median(v) for k, v in marks.items()}


def pss(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f:
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def processes(name):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if os.path.basename(f.read(4096).split(b"\0")[0].decode(errors="replace")) == name:
                    yield int(pid)
        except OSError:
            continue


def note(results, file="PROA_BENCH_JSON"):
    """For machines: all medians as JSON, when PROA_BENCH_JSON names a file."""
    if os.environ.get(file):
        with open(os.environ[file], "a") as f:
            f.write(json.dumps(results) + "\n")


def start_registry(host):
    """Debian's docker-registry, answering; the caller ends it."""
    config = f"{PLACE}/registry.yml"
    with open(config, "w") as f:
        f.write(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {PLACE}/registry}}}}\n"
                f"http: {{addr: '{host}'}}\n")
    process = subprocess.Popen(["docker-registry", "serve", config], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    end = time.monotonic() + 20
    while subprocess.run(["skopeo", "list-tags", "--tls-verify=false", f"docker://{host}/none"], capture_output=True,
                         text=True).stderr.find("connection refused") >= 0:
        if time.monotonic() > end or process.poll() is not None:
            raise RuntimeError("docker-registry does not answer")
        time.sleep(0.1)
    return process
