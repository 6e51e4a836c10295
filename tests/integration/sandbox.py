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

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MARK = "PROA_TEST_SANDBOX"
STATE = "/var/lib/proa"
SCRATCH = "/var/tmp"
OUTSIDE, INSIDE = "198.51.100.2", "198.51.100.1"


def run(*argv, **kw):
    kw.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(argv, check=True, text=True, capture_output=True, **kw)


def enter(pytest_args):
    """Executes this session again inside the namespaces; returns only when already inside."""
    if os.environ.get(MARK):
        return
    if os.geteuid() != 0:
        sys.exit("the integration tests need root")
    os.makedirs(STATE, mode=0o700, exist_ok=True)
    os.environ[MARK] = "1"
    # A shell is process 1 of the namespace: it waits for whoever is orphaned to it.
    os.execvp("unshare", ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
                          "--mount-proc", "--propagation", "private", "sh", "-c", '"$@"; exit $?', "sh",
                          "/usr/bin/python3", "-m", "pytest", *pytest_args])


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
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    os.makedirs("/run/lock", exist_ok=True)
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
