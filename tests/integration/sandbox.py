"""A place of its own for the whole test session.

The session runs itself again once, inside new mount, network, UTS, IPC and process namespaces, so
that nothing it does (links, mounts, rules, processes) reaches the machine it runs on. What needs the
machine's network (fetching Debian packages) is done before that, and cached.

Inside: a fresh ext4 on a loop device at /var/lib/proa (a plain directory where loop devices are not
to be had), a fresh tmpfs at /run, loopback up, and a second network namespace "outside" that plays
the rest of the world: 198.51.100.2 there, 198.51.100.1 here, with the default route through it.
"""

import os
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MARK = "PROA_TEST_SANDBOX"
STATE = "/var/lib/proa"
SCRATCH = "/var/tmp"
SHORT = "/mnt"  # where tmp_path is: socket paths have 107 bytes
OUTSIDE, INSIDE = "198.51.100.2", "198.51.100.1"


def run(*argv, **kw):
    kw.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(argv, check=True, text=True, capture_output=True, **kw)


def cgroup_mounts():
    """(mount point, type, options) of each control group hierarchy that is mounted."""
    with open("/proc/self/mountinfo") as f:
        for line in f:
            left, right = line.rstrip("\n").split(" - ")
            kind, _, options = right.split(" ", 2)
            if kind in ("cgroup", "cgroup2"):
                wanted = [o for o in options.split(",") if o not in ("rw", "ro", "xattr") and not o.startswith("release_agent")]
                yield left.split()[4], kind, ",".join(wanted)


def make_cgroups(name):
    """A group of the session's own in each hierarchy, so that what it leaves there is known to be its."""
    made = []
    for point, _, _ in cgroup_mounts():
        path = os.path.join(point, name)
        os.mkdir(path)
        made.append(path)
        for item in ("cpuset.cpus", "cpuset.mems"):
            source, target = os.path.join(point, item), os.path.join(path, item)
            if os.path.exists(target) and os.path.exists(source):
                with open(source) as f, open(target, "w") as out:
                    out.write(f.read())
    return made


def join(groups):
    for path in groups:
        with open(os.path.join(path, "cgroup.procs"), "w") as f:
            f.write(str(os.getpid()))


def remove_cgroups(groups):
    for top in groups:
        for folder, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                pass


def enter(pytest_args):
    """Runs this session again inside the namespaces and ends with its status; returns only inside."""
    if os.environ.get(MARK):
        return
    if os.geteuid() != 0:
        sys.exit("the integration tests need root")
    os.makedirs(STATE, mode=0o700, exist_ok=True)
    os.environ[MARK] = "1"
    groups = make_cgroups(f"test-of-proa-{os.getpid()}")
    # A shell is process 1 of the namespace: it waits for whoever is orphaned to it.
    try:
        rc = subprocess.call(["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--cgroup", "--fork", "--kill-child",
                              "--mount-proc", "--propagation", "private", "sh", "-c", '"$@"; exit $?', "sh",
                              "/usr/bin/python3", "-m", "pytest", *pytest_args], preexec_fn=lambda: join(groups))
    except KeyboardInterrupt:
        rc = 130
    for _ in range(50):  # the last processes of the namespace need a moment to go
        remove_cgroups(groups)
        if not any(os.path.isdir(g) for g in groups):
            break
        time.sleep(0.1)
    sys.stdout.flush()
    os._exit(rc)


def mount_state(megabytes=6144, where=STATE):
    """A fresh ext4 of its own at `where`: it cannot fill the machine's disk, and goes with the namespace."""
    fd, image = tempfile.mkstemp(prefix="proa-test-", suffix=".ext4", dir=SCRATCH)
    try:
        os.truncate(fd, megabytes << 20)
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1", image)
        try:
            run("mount", "-o", "loop", image, where)
            return
        except subprocess.CalledProcessError:
            pass
        plain = tempfile.mkdtemp(prefix="proa-test-", dir=SCRATCH)
        run("mount", "--bind", plain, where)
    finally:
        os.close(fd)
        os.unlink(image)  # the loop device holds it for as long as it is mounted


def prepare():
    """What is wanted inside, once per session."""
    os.umask(0o022)
    mount_state()
    run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", SCRATCH)  # another session's has the same names
    for point, kind, options in list(cgroup_mounts()):
        run("umount", point)
        run("mount", "-t", kind, "-o", options or "rw", kind, point)
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    os.makedirs("/run/lock", exist_ok=True)
    for path in ("/var/lib/containers", "/var/lib/cni", "/etc/proa"):  # of other engines' tools, which have no flag for it
        os.makedirs(path, exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", path)
    with open("/etc/proa/machines.json", "w") as f:  # test_spare.py wants them; everybody else wants the processors
        f.write('{"spares": 0}')
    os.chmod(STATE, 0o700)
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", SHORT)
    run("ip", "link", "set", "lo", "up")
    run("hostname", "proa-test")
    run("ip", "netns", "add", "outside")
    run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", "outside")
    run("ip", "addr", "add", INSIDE + "/24", "dev", "up0")
    run("ip", "link", "set", "up0", "up")
    for argv in (["ip", "link", "set", "lo", "up"], ["ip", "addr", "add", OUTSIDE + "/24", "dev", "eth0"],
                 ["ip", "link", "set", "eth0", "up"]):
        outside(*argv)
    run("ip", "route", "add", "default", "via", OUTSIDE)


def outside(*argv, **kw):
    return run("nsenter", "--net=/run/netns/outside", *argv, **kw)
