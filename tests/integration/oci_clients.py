"""The clients that drive an OCI runtime: Podman, Buildah, containerd and Docker, as Debian has them.

Each gets a place of its own inside the tests' sandbox: its store on the session's ext4, its state
below /run, a network namespace (links and rules go with it), and a configuration that this kind of
machine can carry out. The first container of each is run before the leak guard looks, because it
makes what the client keeps (parent groups, bridges, the mount of its store); close() takes it away.

The runtime under test is BUILD/proa-oci; PROA_OCI names another, to check the tests themselves.
"""

import fcntl
import os
import pty
import select
import shutil
import stat
import struct
import subprocess
import termios
import time

import archives
from cli import BUILD, PATIENCE, Failed, Result, command, environment, until
from sandbox import STATE, cgroup_mounts

RUNTIME = os.path.abspath(os.environ.get("PROA_OCI", os.path.join(BUILD, "proa-oci")))
IMAGE = "localhost/tiny:1"
HOME, RUN = STATE + "/clients", "/run/clients"

# Root has no CAP_SYS_RESOURCE on some machines: limits that cannot be raised are not asked for.
CONTAINERS_CONF = """[containers]
default_ulimits=["nofile=20000:20000","nproc=32768:32768"]
[engine]
cgroup_manager="cgroupfs"
events_logger="file"
"""
LIMITS = ["--memory", "64m", "--cpu-shares", "100", "--cpuset-cpus", "0", "--pids-limit", "100"]
DOCKERD_FLAGS = ["--oom-score-adjust", "0", "--exec-opt", "native.cgroupdriver=cgroupfs"]
CONTAINERD_TOML = """version = 2
root = "{home}/root"
state = "{run}/state"
oom_score = 0
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{run}/sock"
"""


def need(*programs):
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        raise Failed(f"not there: {' '.join(missing)}; scripts/bootstrap --for test installs the clients")


class Client:
    """One client in its place; calling it runs one of its commands."""
    name, programs, parents = "", (), ()
    fixed = ()  # folders whose paths are compiled in: hidden by private ones
    at_once = []  # what rm -f needs so that it does not wait for the workload

    def __init__(self):
        need(RUNTIME, *self.programs)
        self.home, self.run = f"{HOME}/{self.name}", f"{RUN}/{self.name}"
        self.archive = f"{self.home}/tiny.tar"
        self.env = {"TMPDIR": self.run + "/tmp", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        for folder in (self.home, self.run + "/tmp"):
            os.makedirs(folder, exist_ok=True)
        tree = archives.busybox_tree()
        for folder in ("dev", "mnt", "proc", "run", "sys"):
            tree.dir(folder)
        with open(self.archive, "wb") as f:
            f.write(archives.docker_archive([tree.bytes()], name=IMAGE, Env=["PATH=/bin:/usr/bin"], Cmd=["sh"]))
        for path in self.fixed:
            os.makedirs(self.home + path)
            command(["mount", "--bind", self.home + path, path])
        command(["ip", "netns", "add", self.name])
        for argv in (["link", "set", "lo", "up"], ["link", "add", "up0", "type", "veth", "peer", "name", "up1"],
                     ["addr", "add", "198.51.100.1/24", "dev", "up0"], ["link", "set", "up0", "up"], ["link", "set", "up1", "up"],
                     ["route", "add", "default", "via", "198.51.100.2"]):
            command(self.inside("ip", *argv))

    def inside(self, *argv):
        return ["nsenter", f"--net=/run/netns/{self.name}", "--", *[str(a) for a in argv]]

    def argv(self, *args):
        return self.inside(*self.command, *args)

    def __call__(self, *args, env=None, **kw):
        kw.setdefault("cwd", self.run)
        return command(self.argv(*args), env={**self.env, **(env or {})}, shown=[self.name, *map(str, args)], **kw)

    def terminal(self, *args, **kw):
        return terminal(self.argv(*args), env=environment(self.env), shown=[self.name, *map(str, args)], **kw)

    def remove(self, name):
        """Takes a container away at once, running or not, or not there."""
        self("rm", "-f", *self.at_once, name, check=bool(self.at_once))

    def close(self):
        for point in mounts_below(self.home, self.run):
            subprocess.run(["umount", "-l", point], capture_output=True)
        for path in self.fixed:
            command(["umount", path])
        command(["ip", "netns", "del", self.name])
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.run, ignore_errors=True)
        os.chmod(STATE, 0o700)  # Docker lets everybody through the folders that lead to its own
        forget_cgroups(*self.parents)


class Daemon(Client):
    """A client whose work is done by a daemon."""

    def __init__(self):
        super().__init__()
        mount_other_hierarchies(self.run + "/cgroup")
        self.log = f"{self.home}/daemon.log"
        with open(self.log, "wb") as log:
            self.daemon = subprocess.Popen(self.inside(*self.daemon_argv()), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           env=environment(self.env), start_new_session=True)
        try:
            until(self.answers, timeout=40, every=0.1, message=self.complaint)
        except Failed:
            self.close()
            raise

    def answers(self):
        if self.daemon.poll() is not None:
            raise Failed(f"{self.name} ended with {self.daemon.returncode}: {self.complaint()}")
        return self(*self.question, check=False).rc == 0

    def complaint(self):
        with open(self.log, errors="replace") as f:
            return f"{self.name} does not answer: " + f.read()[-1500:]

    def close(self):
        self.daemon.terminate()
        try:
            self.daemon.wait(20 * PATIENCE)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
        super().close()


class Podman(Client):
    name, programs, parents = "podman", ("podman", "conmon"), ("libpod_parent",)
    fixed = ("/var/lib/cni", "/var/lib/containers")
    at_once = ["-i", "-t", "0"]

    def __init__(self):
        super().__init__()
        self.env["CONTAINERS_CONF"] = self.home + "/containers.conf"
        with open(self.env["CONTAINERS_CONF"], "w") as f:
            f.write(CONTAINERS_CONF + f'[network]\nnetwork_backend="cni"\nnetwork_config_dir="{self.home}/networks"\n')
        self.command = ["podman", "--log-level=error", "--root", self.home + "/root", "--runroot", self.run + "/root",
                        "--tmpdir", self.run + "/tmpdir", "--storage-driver", "overlay", "--runtime", RUNTIME]
        self("load", "-q", "-i", self.archive)
        self("run", "--rm", "--network", "none", *LIMITS, IMAGE, "true")

    def remove(self, name):
        """The monitor's `podman container cleanup` may be at the same container just now: one of the two fails."""
        until(lambda: self("rm", "-f", *self.at_once, name, check=False).rc == 0, message=f"podman rm {name}")

    def close(self):
        self("rm", "-a", "-f", "-t", "0", check=False)
        # Its monitors start a `podman container cleanup` at an end, which mounts the store again.
        until(lambda: subprocess.run(["pgrep", "-f", self.home], capture_output=True).returncode, timeout=60)
        super().close()


class Ordinary(Client):
    """A client of an ordinary user, who is known in this session only: the files of users are copies with one line
    more, and the devices that every user may open elsewhere are copies that this one may open."""
    USER, UID, RANGE = "someone", 5000, 500000

    def __init__(self):
        super().__init__()
        self.covered = []
        self.cover("/etc/passwd", f"{self.USER}:x:{self.UID}:{self.UID}::{self.run}/home:/bin/sh\n")
        self.cover("/etc/group", f"{self.USER}:x:{self.UID}:\n")
        for path in ("/etc/subuid", "/etc/subgid"):
            self.cover(path, f"{self.USER}:{self.RANGE}:65536\n")
        for path in ("/dev/fuse", "/dev/net/tun"):
            self.cover_device(path)
        # Neither the state directory nor, perhaps, the build directory is open to ordinary users.
        for target, source in (("home", self.home), ("bin", os.path.dirname(RUNTIME))):
            os.mkdir(f"{self.run}/{target}")
            command(["mount", "--bind", source, f"{self.run}/{target}"])
        os.mkdir(self.run + "/xdg", 0o700)
        for folder in (self.home, self.run + "/xdg", self.run + "/tmp"):
            os.chown(folder, self.UID, self.UID)
        self.env.update(HOME=self.run + "/home", XDG_RUNTIME_DIR=self.run + "/xdg", USER=self.USER)

    def as_user(self, *argv):
        return ["setpriv", f"--reuid={self.UID}", f"--regid={self.UID}", "--init-groups", "--", *argv]

    def cover(self, path, line):
        copy = f"{self.run}/{os.path.basename(path)}"
        with open(copy, "w") as f:
            if os.path.exists(path):
                with open(path) as old:
                    f.write(old.read())
            f.write(line)
        command(["mount", "--bind", copy, path])
        self.covered.append(path)

    def cover_device(self, path):
        copy = f"{self.run}/{os.path.basename(path)}"
        os.mknod(copy, 0o666 | stat.S_IFCHR, os.stat(path).st_rdev)
        os.chmod(copy, 0o666)
        command(["mount", "--bind", copy, path])
        self.covered.append(path)

    def close(self):
        for path in self.covered:
            command(["umount", path])
        super().close()


class Rootless(Ordinary):
    """Podman."""
    name, programs = "rootless", ("podman", "conmon", "newuidmap", "slirp4netns", "setpriv")
    at_once = Podman.at_once

    def __init__(self):
        super().__init__()
        self.runtime = f"{self.run}/bin/{os.path.basename(RUNTIME)}"
        self.env["CONTAINERS_CONF"] = self.run + "/containers.conf"
        with open(self.env["CONTAINERS_CONF"], "w") as f:
            f.write(CONTAINERS_CONF)
        self.command = self.as_user("podman", "--log-level=error", "--storage-driver", "overlay", "--runtime", self.runtime)
        self("load", "-q", "-i", f"{self.run}/home/tiny.tar")
        self("run", "--rm", "--network", "none", IMAGE, "true")

    def close(self):
        self("rm", "-a", "-f", "-t", "0", check=False)
        self("system", "migrate", check=False)  # ends the process that keeps the user's namespaces
        super().close()


class Proa(Ordinary):
    """Proa itself. Another namespace is the rest of the world: 198.51.100.2, the router; this side has two addresses."""
    name, programs = "proa", ("newuidmap", "setpriv", "pasta", "passt")
    WORLD, OTHER = "198.51.100.2", "198.51.100.9"

    def __init__(self):
        super().__init__()
        self.command = self.as_user(f"{self.run}/bin/proa")
        command(["ip", "netns", "add", "proa-world"])
        command(self.inside("ip", "link", "set", "up1", "netns", "proa-world"))
        for argv in (["addr", "add", f"{self.WORLD}/24", "dev", "up1"], ["link", "set", "up1", "up"], ["link", "set", "lo", "up"]):
            command(self.world("ip", *argv))
        command(self.inside("ip", "addr", "add", f"{self.OTHER}/24", "dev", "up0"))
        self("load", "-q", "-i", f"{self.run}/home/tiny.tar")
        self("run", "--rm", "--network", "none", IMAGE, "true")

    def world(self, *argv):
        return ["nsenter", "--net=/run/netns/proa-world", "--", *[str(a) for a in argv]]

    def remove(self, name):
        self("rm", "-f", "-v", name, check=False)

    def keeper(self, runtime_dir=None):
        """The pid of the process that keeps the namespaces; 0: there is none."""
        try:
            with open((runtime_dir or self.run + "/xdg") + "/proa/keeper") as f:
                pid = int(f.read().split()[0])
            os.kill(pid, 0)
            return pid
        except (OSError, ValueError):
            return 0

    def close(self):
        for name in self("ps", "-aq", "--no-trunc", check=False).lines:
            self.remove(name)
        self("system", "prune", "-f", check=False)
        super().close()
        command(["ip", "netns", "del", "proa-world"])


class Buildah(Client):
    name, programs, fixed = "buildah", ("buildah",), ("/var/lib/containers",)

    def __init__(self):
        super().__init__()
        self.command = ["buildah", "--root", self.home + "/root", "--runroot", self.run + "/root", "--storage-driver", "overlay"]
        self("pull", "-q", "docker-archive:" + self.archive)

    def close(self):
        self("rm", "-a", check=False)
        super().close()


class Containerd(Daemon):
    name, programs, parents, question = "containerd", ("containerd", "ctr", "containerd-shim-runc-v2"), ("default",), ("version",)

    def __init__(self):
        self.command = ["ctr", "-a", RUN + "/containerd/sock"]
        super().__init__()
        self("images", "import", self.archive)
        self.start("first", "true", flags=["--rm", "--memory-limit", str(64 << 20), "--cpu-quota", "50000", "--cpu-period", "100000"])

    def start(self, name, *argv, flags=(), **kw):
        """A container with the runtime under test."""
        return self("run", "--runc-binary", RUNTIME, *flags, IMAGE, name, *argv, **kw)

    def daemon_argv(self):
        path = self.home + "/config.toml"
        with open(path, "w") as f:
            f.write(CONTAINERD_TOML.format(home=self.home, run=self.run))
        return ["containerd", "-c", path]


class Docker(Daemon):
    name, programs, parents, question = "docker", ("dockerd", "docker", "containerd", "runc"), ("docker",), ("info",)

    def __init__(self):
        self.command = ["docker", "--host", f"unix://{RUN}/docker/sock"]
        super().__init__()
        self("load", "-i", self.archive)
        for network in ("none", "host", "bridge"):  # what is made for the first one of each is kept
            self("run", "--rm", "--network", network, *LIMITS, IMAGE, "true")

    def daemon_argv(self):
        return ["dockerd", "--data-root", self.home + "/root", "--exec-root", self.run + "/exec", "--pidfile", self.run + "/pid",
                "--host", f"unix://{self.run}/sock", "--add-runtime", "proa=" + RUNTIME, "--default-runtime", "proa", *DOCKERD_FLAGS]

    def close(self):
        for name in self("ps", "-aq", check=False).lines:
            self.remove(name)
        super().close()


def mounts_below(*folders):
    """Mount points below the folders, the innermost first."""
    with open("/proc/self/mountinfo") as f:
        points = [line.split()[4] for line in f]
    return [p for p in reversed(points) if any(p.startswith(folder + "/") for folder in folders)]


def mount_other_hierarchies(folder):
    """containerd counts and watches nothing for a process that is in a hierarchy which is mounted nowhere. Such
    ones are mounted aside, where nobody makes groups in them."""
    with open("/proc/self/cgroup") as f:
        known = [line.split(":")[1] for line in f]
    there = {option for _, _, options in cgroup_mounts() for option in options.split(",")}
    for name in known:
        if name and not set(name.split(",")) <= there:
            os.makedirs(f"{folder}/{name}")
            command(["mount", "-t", "cgroup", "-o", name, "cgroup", f"{folder}/{name}"])


def forget_cgroups(*parents):
    """The groups a client leaves behind, when nothing is in them."""
    for point, _, _ in cgroup_mounts():
        for parent in parents:
            for folder, _, _ in os.walk(os.path.join(point, parent), topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass


def terminal(argv, size=(24, 80), env=None, shown=None, timeout=30, steps=()):
    """Runs a command on a terminal of this size. steps: (text to wait for, what to do then), where that is
    bytes to type or a new size, which is set over and over: a client may not listen for it yet. The result's
    out has what the terminal showed, without carriage returns."""
    started = time.monotonic()
    pid, master = pty.fork()
    if pid == 0:
        resize(0, size)
        os.execvpe(argv[0], argv, env or os.environ)
    shown_text, waiting, wanted = b"", list(steps), None
    end = started + timeout * PATIENCE
    try:
        while time.monotonic() < end:
            if waiting and waiting[0][0].encode() in shown_text:
                deed = waiting.pop(0)[1]
                wanted = None
                if isinstance(deed, bytes):
                    os.write(master, deed)
                else:
                    wanted = deed
            if wanted:
                resize(master, (wanted[0], wanted[1] - 1))
                resize(master, wanted)
            if not select.select([master], [], [], 0.1)[0]:
                continue
            try:
                shown_text += os.read(master, 65536)
            except OSError:  # the other end is closed
                break
        else:
            os.kill(pid, 9)
    finally:
        os.close(master)
        _, status = os.waitpid(pid, 0)
    text = shown_text.decode(errors="replace").replace("\r", "")
    result = Result(shown or argv, os.waitstatus_to_exitcode(status), text, "", time.monotonic() - started)
    if time.monotonic() >= end or waiting:
        raise Failed(f"the terminal waited in vain for {waiting!r}: {result!r}")
    return result


def resize(fd, size):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", size[0], size[1], 0, 0))
