"""proa-oci checkpoint and restore, over the installed criu: cases for test_oci_checkpoint.py, which runs all of them on
the machine itself, and for check_checkpoint.py, which runs some in the guest.

    python3 tests/guest/checkpoint_cases.py [CASE...]
"""

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time

import checks

HOME = os.environ.get("CHECK_HOME", "/tmp/check-checkpoint")
ROOT = f"{HOME}/root"
IMAGE = f"{HOME}/image"
OUTPUT = f"{HOME}/output"
APPLETS = ("sh", "cat", "echo", "grep", "id", "mount", "ps", "readlink", "sleep", "stty", "tty", "true")
# What counts is in the memory of one process, comes through a pipe to another, and goes to the file outside that
# the caller gave as standard output, and to one inside.
COUNT = ("i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done | "
         "while read n; do echo $n; echo $n >/tmp/count; done")


def oci(*args, **kw):
    return checks.command("proa-oci", "--root", f"{HOME}/state", *args, **kw)


def leave(*args, stdin=subprocess.DEVNULL, check=True):
    """One that leaves a process behind, which keeps the output: a file, not a pipe that never ends."""
    with open(OUTPUT, "a") as out, open(f"{HOME}/errors", "w+") as err:
        done = subprocess.run(["proa-oci", "--root", f"{HOME}/state", *args], stdin=stdin, stdout=out, stderr=err,
                              timeout=60, check=False)
        err.seek(0)
        said = err.read()
    if check:
        checks.equal(done.returncode, 0, said + log())
    return done.returncode, said


def log():
    """The end of what CRIU said, to be shown with a failure."""
    for name in ("restore.log", "dump.log"):
        with contextlib.suppress(OSError):
            lines = checks.read(f"{IMAGE}/{name}").splitlines()
            return " ".join(line for line in lines if "Error" in line)[-600:]
    return ""


def criu_version():
    return tuple(int(n) for n in checks.command("criu", "--version").out.split("Version: ")[1].split()[0].split("."))


def bundle(*args, **changes):
    """A bundle in a folder of its own; all use one busybox root."""
    if not os.path.isdir(ROOT):
        checks.make_root(ROOT, APPLETS)
    path = f"{HOME}/bundle"
    os.makedirs(path, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{path}/config.json")
    checks.command("proa-oci", "spec", cwd=path)
    with open(f"{path}/config.json") as f:
        config = json.load(f)
    config["root"] = {"path": ROOT}
    config["process"]["terminal"] = changes.pop("terminal", False)
    config["process"]["noNewPrivileges"] = changes.pop("no_new_privileges", criu_version() >= (3, 19))
    config["process"]["args"] = list(args)
    config["process"]["env"] = ["PATH=/bin"]
    config["mounts"] += changes.pop("mounts", [])
    config["linux"].update(changes.pop("linux", {}))
    config.update(changes)
    with open(f"{path}/config.json", "w") as f:
        json.dump(config, f)
    return path


def state(name="box"):
    return json.loads(oci("state", name).out)


def gone(name="box"):
    result = oci("state", name, check=False)
    return result.code != 0 and "does not exist" in result.err


def until(condition, what, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        checks.true(time.monotonic() < end, what() if callable(what) else what)
        time.sleep(0.05)


def count():
    """The last number that came out; every one must be one more than that before."""
    with open(OUTPUT) as f:
        numbers = [int(line) for line in f.read().split()]
    checks.equal(numbers, list(range(1, len(numbers) + 1)))
    return len(numbers)


def counts_on(by=5):
    start = count()
    until(lambda: count() >= start + by, lambda: f"it stays at {count()}")


def clear():
    for leftover in (IMAGE, f"{HOME}/earlier", f"{HOME}/work"):
        shutil.rmtree(leftover, ignore_errors=True)
    for leftover in (OUTPUT, f"{HOME}/errors"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(leftover)


@contextlib.contextmanager
def box(path, *flags, counting=True):
    clear()
    leave("run", "--detach", "--bundle", path, *flags, "box")
    try:
        if counting:
            counts_on()
        yield
    finally:
        for name in ("box", "other"):
            oci("delete", "--force", name, check=False)
    checks.equal(os.listdir(f"{HOME}/state"), [], "the state directory")


def checkpoint(*flags, **kw):
    return oci("checkpoint", "--image-path", IMAGE, *flags, "box", **kw)


def restore(*flags, name="box", **kw):
    return leave("restore", "--image-path", IMAGE, "--detach", "--bundle", f"{HOME}/bundle", *flags, name, **kw)


def inside(name, *argv):
    return oci("exec", name, *argv).out


def inside_count():
    """What /tmp/count says; it is empty for a moment whenever the shell writes it."""
    text = ""
    end = time.monotonic() + 20
    while not text and time.monotonic() < end:
        text = inside("box", "cat", "/tmp/count").strip()
    return int(text)


def case_counting_goes_on():
    with box(bundle("sh", "-c", COUNT)):
        first = state()
        checkpoint("--work-path", f"{HOME}/work")
        checks.true(gone(), "it is still there")
        checks.true(os.path.exists(f"{HOME}/work/dump.log") and not os.path.exists(f"{IMAGE}/dump.log"), os.listdir(IMAGE))
        before = count()
        restore("--work-path", f"{HOME}/work", "--pid-file", f"{HOME}/pid", "-no-subreaper")
        counts_on()
        checks.true(count() > before)
        now = state()
        checks.equal((now["status"], now["bundle"]), ("running", first["bundle"]))
        checks.equal(checks.read(f"{HOME}/pid"), str(now["pid"]))
        checks.true(inside_count() >= before)
        checks.true(oci("ps", "--format", "json", "box").out.count(",") >= 2, "less than three processes")
        oci("kill", "box", "KILL")
        until(lambda: state()["status"] == "stopped", "it does not end")


def case_again_and_again():
    """An image of a restored one, in the same directory, under another name."""
    with box(bundle("sh", "-c", COUNT)):
        checkpoint()
        restore()
        counts_on()
        checkpoint()
        restore(name="other")
        counts_on()
        checks.equal(state("other")["status"], "running")


def case_its_parent_is_the_caller():
    """What the command leaves behind becomes the child of whoever collects orphans, as conmon and the shim do."""
    import ctypes
    with box(bundle("sh", "-c", COUNT)):
        checkpoint()
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        restore()
        pid = state()["pid"]
        checks.equal(checks.read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[1], str(os.getpid()))
        oci("kill", "box", "KILL")
        until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, "its end is not told")


def case_leave_running():
    with box(bundle("sh", "-c", COUNT)):
        checkpoint("--leave-running")
        checks.equal(state()["status"], "running")
        counts_on()


def case_pre_dump():
    with box(bundle("sh", "-c", COUNT)):
        if checks.command("criu", "check", "--feature", "mem_dirty_track", check=False).code != 0:
            result = oci("checkpoint", "--pre-dump", "--image-path", f"{HOME}/earlier", "box", check=False)
            checks.true(result.code == 1 and "Tracking memory is not available" in result.err, result)
            counts_on()
            return
        oci("checkpoint", "--pre-dump", "--image-path", f"{HOME}/earlier", "box")
        checks.equal(state()["status"], "running")
        counts_on()
        result = checkpoint("--parent-path", f"{HOME}/earlier", check=False)
        checks.true(result.code == 1 and "must be relative" in result.err, result)
        result = checkpoint("--parent-path", "../nowhere", check=False)
        checks.true(result.code == 1 and "--parent-path ../nowhere" in result.err, result)
        checkpoint("--parent-path", "../earlier")
        checks.true(gone())
        restore()
        counts_on()


def case_a_paused_one():
    with box(bundle("sh", "-c", COUNT)):
        oci("pause", "box")
        checkpoint("--leave-running")
        checks.equal(state()["status"], "paused")
        oci("resume", "box")
        counts_on()


def case_standard_input():
    """Pipes of the caller's are replaced by those of the one that restores."""
    path = bundle("sh", "-c", "while read line; do echo got $line; done")
    first, second = os.pipe(), os.pipe()
    clear()
    try:
        leave("run", "--detach", "--bundle", path, "box", stdin=first[0])
        os.write(first[1], b"one\n")
        until(lambda: checks.read(OUTPUT) == "got one", "nothing")
        checkpoint()
        restore(stdin=second[0])
        os.write(second[1], b"two\n")
        until(lambda: checks.read(OUTPUT) == "got one\ngot two", lambda: checks.read(OUTPUT))
    finally:
        oci("delete", "--force", "box", check=False)
        for fd in first + second:
            os.close(fd)


class Console:
    """The socket that a terminal's master is sent over."""

    def __init__(self):
        self.path = f"{HOME}/console"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(1)
        self.socket.settimeout(20)
        self.master = -1

    def accept(self):
        connection, _ = self.socket.accept()
        with connection:
            self.master = socket.recv_fds(connection, 100, 1)[1][0]

    def read_until(self, text):
        seen, end = b"", time.monotonic() + 20
        while text not in seen:
            checks.true(time.monotonic() < end, seen)
            if select.select([self.master], [], [], 0.5)[0]:
                seen += os.read(self.master, 4096)

    def close(self):
        self.socket.close()
        if self.master >= 0:
            os.close(self.master)


def case_terminal():
    with contextlib.closing(Console()) as first:
        with box(bundle("sh", "-c", "tty; while read line; do echo got $line; done", terminal=True),
                 "--console-socket", first.path, counting=False):
            first.accept()
            first.read_until(b"/dev/pts/0")
            checkpoint()
            with contextlib.closing(Console()) as second:
                code, said = restore(check=False)
                checks.true(code == 1 and "console-socket" in said, said)
                restore("--console-socket", second.path)
                second.accept()
                os.write(second.master, b"two\n")
                second.read_until(b"got two")
                checks.equal(inside("box", "readlink", "/proc/1/fd/0"), "/dev/pts/0\n")


def seen_in(pid):
    """Its mounts, without numbers; the order of their making does not count."""
    lines = [line.split(" ") for line in checks.read(f"/proc/{pid}/mountinfo").splitlines()]
    return sorted((line[4], line[3] if line[4] != "/" else "", line[5].split(",")[0], line[line.index("-") + 1]) for line in lines)


def case_mounts_of_the_host():
    source = f"{HOME}/source"
    os.makedirs(source + "/below", exist_ok=True)
    for name in ("file", "hello"):
        with open(f"{source}/{name}", "w") as f:
            f.write(name)
    checks.command("mount", "-t", "tmpfs", "below", source + "/below")
    mounts = [{"destination": "/data", "type": "bind", "source": source, "options": ["rbind", "ro"]},
              {"destination": "/some/where/file", "type": "bind", "source": source + "/file", "options": ["bind"]},
              {"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]},
              {"destination": "/scratch/deep", "type": "bind", "source": source, "options": ["bind"]}]
    try:
        with box(bundle("sh", "-c", "echo kept >/scratch/kept; " + COUNT, mounts=mounts)):
            before = seen_in(state()["pid"])
            checkpoint()
            restore()
            counts_on()
            checks.equal(seen_in(state()["pid"]), before)
            checks.equal(inside("box", "cat", "/data/hello", "/some/where/file", "/scratch/kept", "/scratch/deep/file"),
                         "hellofilekept\nfile")
            result = oci("exec", "box", "sh", "-c", "echo x >/data/hello", check=False)
            checks.true("Read-only file system" in result.err, result)
    finally:
        checks.command("umount", source + "/below")


def case_limits_and_filter():
    """The control group is made with the configuration's limits; what the process gave up stays given up."""
    linux = {"resources": {"memory": {"limit": 64 << 20}, "pids": {"limit": 55}},
             "seccomp": {"defaultAction": "SCMP_ACT_ALLOW",
                         "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}}
    names = ("Seccomp", "NoNewPrivs", "CapEff", "CapBnd", "Uid")

    def held():
        status = dict(line.split(":", 1) for line in checks.read(f"/proc/{state()['pid']}/status").splitlines())
        with open(f"/proc/{state()['pid']}/cgroup") as f:
            return [status[name].split() for name in names], f.read()

    with box(bundle("sh", "-c", COUNT, linux=linux)):
        before = held()
        checks.equal(before[0][0], ["2"])
        checkpoint()
        restore()
        counts_on()
        checks.equal(held(), before)
        stats = json.loads(oci("events", "--stats", "box").out)["data"]
        checks.equal((stats["pids"]["limit"], stats["memory"]["usage"]["limit"]), (55, 64 << 20))
        oci("update", "--pids-limit", "44", "box")
        checks.equal(json.loads(oci("events", "--stats", "box").out)["data"]["pids"]["limit"], 44)
        oci("pause", "box")
        checks.equal(state()["status"], "paused")


def case_no_new_privileges_is_not_lost():
    """An older CRIU does not save it."""
    with box(bundle("sh", "-c", COUNT, no_new_privileges=True)):
        if criu_version() < (3, 19):
            result = checkpoint(check=False)
            checks.true(result.code == 1 and "noNewPrivileges, which criu 3." in result.err, result)
            counts_on()
        else:
            checkpoint()
            restore()
            counts_on()
            checks.true("NoNewPrivs:\t1" in checks.read(f"/proc/{state()['pid']}/status"), "lost")


def case_an_image_with_less_is_refused():
    """The configuration at the restore is stricter than the container was."""
    for changes, what in (({"no_new_privileges": True}, "noNewPrivileges"),
                          ({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}}, "seccomp")):
        with box(bundle("sh", "-c", COUNT, no_new_privileges=False)):
            checkpoint()
            bundle("sh", "-c", COUNT, **{"no_new_privileges": False, **changes})
            code, said = restore(check=False)
            checks.true(code == 1 and what in said and len(said.splitlines()) == 1, said)
            checks.true(gone())
            bundle("sh", "-c", COUNT, no_new_privileges=False)
            restore()
            counts_on()


def case_a_scope_of_systemd():
    path = bundle("sh", "-c", COUNT, linux={"cgroupsPath": "checks.slice:proa:box", "resources": {"pids": {"limit": 55}}})
    if not os.path.isdir("/run/systemd/system"):
        code, said = leave("--systemd-cgroup", "restore", "--image-path", HOME, "--detach", "--bundle", path, "box", check=False)
        checks.true(code == 1 and "systemd" in said and gone(), said)
        return
    group = "/sys/fs/cgroup/checks.slice/proa-box.scope"
    clear()
    leave("--systemd-cgroup", "run", "--detach", "--bundle", path, "box")
    try:
        counts_on()
        checkpoint()
        checks.true(not os.path.exists(group), "the scope is still there")
        leave("--systemd-cgroup", "restore", "--image-path", IMAGE, "--detach", "--bundle", path, "box")
        counts_on()
        checks.equal(checks.read(f"/proc/{state()['pid']}/cgroup"), "0::/checks.slice/proa-box.scope")
        checks.equal(checks.read(group + "/pids.max"), "55")
        shown = checks.command("systemctl", "show", "proa-box.scope", "--property=TasksMax,Description").out
        checks.equal(sorted(shown.split("\n"))[1:], ["Description=container box", "TasksMax=55"])
        names = {checks.read(f"/proc/{pid}/comm") for pid in json.loads(oci("ps", "--format", "json", "box").out)
                 if os.path.exists(f"/proc/{pid}/comm")}
        checks.equal(names - {"sh", "sleep"}, set(), "who else is in the scope")
    finally:
        oci("delete", "--force", "box", check=False)
    checks.true(not os.path.exists(group), "the scope is still there")


def case_namespaces_joined_by_path():
    with contextlib.ExitStack() as stack:
        others = subprocess.Popen(["unshare", "--net", "--uts", "--ipc", "sh", "-c", "hostname shared; echo ready; exec sleep 1000"],
                                  stdout=subprocess.PIPE, text=True)
        stack.callback(others.wait)
        stack.callback(others.kill)
        checks.equal(others.stdout.readline(), "ready\n")
        kinds = {"network": "net", "uts": "uts", "ipc": "ipc"}
        spaces = [{"type": t} for t in ("pid", "mount", "cgroup")]
        spaces += [{"type": t, "path": f"/proc/{others.pid}/ns/{name}"} for t, name in kinds.items()]
        path = bundle("sh", "-c", COUNT, linux={"namespaces": spaces}, hostname="")
        stack.enter_context(box(path))
        checkpoint()
        restore()
        counts_on()
        for name in kinds.values():
            checks.equal(os.readlink(f"/proc/{state()['pid']}/ns/{name}"), os.readlink(f"/proc/{others.pid}/ns/{name}"))


def case_hooks():
    seen = f"{HOME}/hooks"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(seen)
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    hooks = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {kind} >>{seen}; cat >{HOME}/state-{kind}"]}]
             for kind in kinds if kind not in ("createContainer", "startContainer")}
    with box(bundle("sh", "-c", COUNT, hooks=hooks)):
        checkpoint()
        os.unlink(seen)
        restore()
        checks.equal(checks.read(seen).split(), ["prestart", "createRuntime", "poststart"])
        told = json.loads(checks.read(f"{HOME}/state-createRuntime"))
        checks.equal((told["id"], told["pid"]), ("box", state()["pid"]))
        counts_on()


def case_a_hook_that_fails():
    path = bundle("sh", "-c", COUNT, hooks={"createRuntime": [{"path": "/bin/sh", "args": [
        "sh", "-c", f"test ! -e {HOME}/refuse"]}]})
    with box(path):
        checkpoint()
        with open(f"{HOME}/refuse", "w"):
            pass
        try:
            code, said = restore(check=False)
        finally:
            os.unlink(f"{HOME}/refuse")
        checks.true(code == 1 and "createRuntime" in said and len(said.splitlines()) == 1, said)
        checks.true(gone())
        checks.equal(oci("list", "-q").out, "")
        restore()
        counts_on()


def case_a_restore_that_is_killed():
    """CRIU undoes what it has made, and the next one of that name clears the rest."""
    marker = f"{HOME}/slow"
    path = bundle("sh", "-c", COUNT, hooks={"createRuntime": [{"path": "/bin/sh", "args": [
        "sh", "-c", f"[ ! -e {marker} ] || {{ touch {marker}-now; sleep 1; }}"]}]})
    with box(path):
        checkpoint()
        before = count()
        with open(marker, "w"):
            pass
        run = subprocess.Popen(["proa-oci", "--root", f"{HOME}/state", "restore", "--image-path", IMAGE, "--detach",
                                "--bundle", path, "box"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: os.path.exists(f"{marker}-now"), "the hook does not run")
        finally:
            run.kill()
            run.wait()
            for name in (marker, f"{marker}-now"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)
        checks.equal(state()["status"], "creating")
        time.sleep(0.5)
        checks.equal(count(), before, "it runs")
        restore()
        counts_on()


def case_modes_and_flags():
    for flags in (["--manage-cgroups-mode", "ignore"], ["--manage-cgroups-mode", "full"], ["--empty-ns", "network"],
                  ["--tcp-established", "--ext-unix-sk", "--file-locks", "--shell-job", "--auto-dedup"]):
        with box(bundle("sh", "-c", COUNT)):
            groups = checks.read(f"/proc/{state()['pid']}/cgroup")
            checkpoint(*flags)
            restore(*flags)
            counts_on()
            checks.equal(checks.read(f"/proc/{state()['pid']}/cgroup"), groups, flags)


def case_a_user_namespace():
    """CRIU opens files that are standard output again as who the container's root is outside."""
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    spaces = [{"type": t} for t in ("pid", "mount", "cgroup", "ipc", "uts", "network", "user")]
    path = bundle("sh", "-c", COUNT, linux={"namespaces": spaces, "uidMappings": maps, "gidMappings": maps})
    checks.command("chmod", "a+rwx", ROOT, f"{ROOT}/tmp")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{ROOT}/tmp/count")
    with box(path):
        before = seen_in(state()["pid"])
        checks.true(f"{ROOT}/proc" not in checks.read("/proc/self/mountinfo"), "its mounts are seen outside")
        checks.command("chmod", "a+rw", OUTPUT, f"{HOME}/errors")
        checkpoint()
        restore()
        counts_on()
        checks.equal(checks.read(f"/proc/{state()['pid']}/uid_map").split(), ["0", "100000", "65536"])
        checks.equal(seen_in(state()["pid"]), before)
        checks.equal(inside("box", "id", "-u"), "0\n")
        checks.equal(os.stat(IMAGE).st_mode & 0o7777, 0o710)
    os.unlink(f"{ROOT}/tmp/count")


def case_in_the_foreground():
    path = bundle("sh", "-c", "while :; do sleep 0.05; [ ! -e /tmp/end ] || exit 7; done")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{ROOT}/tmp/end")
    with box(path, counting=False):
        checkpoint()
        with open(OUTPUT, "a") as out:
            run = subprocess.Popen(["proa-oci", "--root", f"{HOME}/state", "restore", "--image-path", IMAGE, "--bundle", path, "box"],
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            until(lambda: run.poll() is not None or (not gone() and state()["status"] == "running"), "it does not run")
            checks.equal(run.poll(), None, checks.read(OUTPUT) + log())
            with open(f"{ROOT}/tmp/end", "w"):
                pass
            checks.equal(run.wait(20), 7, checks.read(OUTPUT))
        os.unlink(f"{ROOT}/tmp/end")
        checks.true(gone())


def case_a_damaged_image():
    with box(bundle("sh", "-c", COUNT)):
        checkpoint()
        groups = groups_of_box()
        checks.equal(groups, [], "groups that the checkpoint left")
        with open(f"{IMAGE}/core-1.img", "r+b") as f:
            f.truncate(20)
        code, said = restore(check=False)
        checks.true(code == 1 and said.startswith("proa-oci: restore: criu failed: "), said)
        checks.equal(len(said.splitlines()), 1, said)
        checks.true(f"{IMAGE}/restore.log" in said, said)
        checks.true(gone())
        checks.equal((groups_of_box(), os.listdir(f"{HOME}/state")), ([], []))
        with open("/proc/self/mountinfo") as f:
            checks.true("criu-root" not in f.read(), "a mount was left")


def groups_of_box():
    return [top for top, _, _ in os.walk("/sys/fs/cgroup") if top.endswith("/proa/box")]


def case_a_name_that_is_taken():
    with box(bundle("sh", "-c", COUNT)):
        checkpoint("--leave-running")
        code, said = restore(check=False)
        checks.true(code == 1 and "already exists" in said, said)
        counts_on()


def main(names):
    """Runs these cases, in the file's order; all without any."""
    os.makedirs(HOME, exist_ok=True)
    every = {name: f for name, f in globals().items() if name.startswith("case_")}
    checks.main({name: f for name, f in every.items() if not names or name[5:] in names})


if __name__ == "__main__":
    main(sys.argv[1:])
