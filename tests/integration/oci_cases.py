"""What Podman's and Docker's command lines have in common, as tables and as the steps of longer tests.

A case of RUN is (name, flags, script, pattern): the script runs under sh in a container started with the
flags, must end with 0 and print what the pattern finds (re.search, MULTILINE). {dir} in a flag is a folder
of the test's own. A case of EXEC is the same for exec in a running container.
"""

import json
import re

from cli import command, until
from oci_clients import IMAGE

DENY_MKDIR = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                         "syscalls": [{"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]})
CGROUP = "/sys/fs/cgroup/"

RUN = [
    ("streams", [], "echo out; echo err >&2", r"\Aout\n\Z"),
    ("env", ["-e", "A=b c"], 'echo "[$A]"', r"^\[b c\]$"),
    ("user-number", ["-u", "1234:2000"], "id -u; id -g", r"\A1234\n2000\n"),
    ("user-name", ["-u", "user"], "id -u; id -g; id -G", r"\A1000\n1000\n1000.*2000"),
    ("group-add", ["-u", "1000", "--group-add", "4242"], "id -G", r"\b4242\b"),
    ("workdir", ["-w", "/home/user"], "pwd; readlink /proc/1/cwd", r"\A/home/user\n/home/user\n"),
    ("entrypoint", ["--entrypoint", "/bin/sh"], None, r"\Aentered\n"),
    ("read-only", ["--read-only"], "touch /x 2>&1 || touch /dev/shm/x && echo written there", r"Read-only file system\nwritten there"),
    ("tmpfs", ["--tmpfs", "/scratch:size=1m,noexec"], "grep ' /scratch tmpfs ' /proc/mounts", r"noexec.*size=1024k"),
    ("volume", ["-v", "{dir}:/data"], "cat /data/given; echo back >/data/made; id -u", r"\Agiven\n0\n"),
    ("volume-ro", ["-v", "{dir}:/data:ro"], "cat /data/given; touch /data/x 2>&1; true", r"\Agiven\n.*Read-only"),
    ("volume-file", ["-v", "{dir}/given:/etc/given"], "cat /etc/given", r"\Agiven\n"),
    ("default-caps", [], "grep CapEff /proc/self/status", r"CapEff:\t00000000[0-9a]00405fb|CapEff:\t00000000[0-9a]*25fb"),
    ("cap-add", ["--cap-drop", "ALL", "--cap-add", "NET_ADMIN"], "grep Cap /proc/self/status", r"CapEff:\t0000000000001000"),
    ("cap-drop", ["--cap-drop", "ALL"], "grep CapEff /proc/self/status; chown 1 /etc/passwd 2>&1; true",
     r"CapEff:\t0{16}\n.*not permitted"),
    ("user-without-caps", ["-u", "1000"], "grep CapEff /proc/self/status", r"CapEff:\t0{16}"),
    ("privileged", ["--privileged"], "grep -E 'CapEff|Seccomp:' /proc/self/status; touch /proc/sys/kernel/hostname && echo writable",
     r"CapEff:\t00000(03f|1ff)f[ef]f{6}\nSeccomp:\t0\nwritable"),
    ("no-new-privileges", ["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status", r"NoNewPrivs:\t1"),
    ("seccomp-default", [], "grep Seccomp: /proc/self/status", r"Seccomp:\t2"),
    ("seccomp-none", ["--security-opt", "seccomp=unconfined"], "grep Seccomp: /proc/self/status", r"Seccomp:\t0"),
    ("seccomp-own", ["--security-opt", "seccomp={dir}/deny-mkdir.json"], "mkdir /x 2>&1; touch /y && echo touched",
     r"not permitted\ntouched"),
    ("masked", [], "cat /proc/kcore | wc -c; ls /proc/acpi /sys/firmware; echo 1 2>&1 >/proc/sys/vm/drop_caches; true",
     r"\A0\n[\s\S]*Read-only file system"),
    ("sysctl", ["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=1234"],
     "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax", r"\A1\n1234\n"),
    ("ulimit", ["--ulimit", "nofile=100:200", "--ulimit", "nproc=3000:4000"],
     "grep -E 'processes|files' /proc/self/limits", r"processes +3000 +4000 [\s\S]*files +100 +200 "),
    ("device", ["--device", "/dev/fuse:/dev/mine:rw"], "stat -c '%t:%T %F' /dev/mine", r"\Aa:e5 character"),
    ("device-denied", [], "mknod /loop b 7 0 && cat /loop 2>&1; true", r"not permitted"),
    ("standard-devices", [], "for d in null zero full tty random urandom; do test -c /dev/$d || echo no $d; done; echo x >/dev/null; "
     "readlink /dev/fd; readlink /dev/stdin; readlink /dev/ptmx", r"\A/proc/self/fd\n/proc/self/fd/0\n(/dev/)?pts/ptmx\n"),
    ("hostname", ["--hostname", "chosen"], "hostname; cat /etc/hostname", r"\Achosen\nchosen"),
    ("init", ["--init"], "cat /proc/1/comm", r"\A(podman-init|docker-init)"),
    ("shm-size", ["--shm-size", "1m"], "df -k /dev/shm | tail -1", r"\b1024\b"),
    ("oom-score-adj", ["--oom-score-adj", "321"], "cat /proc/self/oom_score_adj", r"\A321\n"),
    ("limits", ["--memory", "32m", "--memory-swap", "32m", "--cpu-shares", "77", "--cpu-period", "50000", "--cpu-quota", "20000",
                "--pids-limit", "33", "--cpuset-cpus", "0"],
     f"cd {CGROUP}; cat memory/memory.limit_in_bytes cpu*/cpu.shares cpu*/cpu.cfs_quota_us pids/pids.max cpuset/cpuset.cpus; nproc",
     r"\A33554432\n(77\n)+(20000\n)+33\n0\n1\n"),
    ("pids-limit", ["--pids-limit", "5"], "sh -c 'for i in 1 2 3 4 5 6 7; do sleep 2 & done' 2>&1; true", r"can't fork"),
    ("stdin", ["-i"], "cat", r"\Atyped\n"),
]
OWN = [("pid", ["pid"]), ("ipc", ["ipc"]), ("uts", ["uts"]), ("network", ["net"])]

EXEC = [
    ("streams", [], "echo out; echo err >&2", r"\Aout\n\Z"),
    ("env", ["-e", "A=b c"], 'echo "[$A]"', r"^\[b c\]$"),
    ("user", ["-u", "user"], "id -u; id -G; grep CapEff /proc/self/status", r"\A1000\n.*\nCapEff:\t0{16}"),
    ("workdir", ["-w", "/etc"], "pwd", r"\A/etc\n"),
    ("privileged", ["--privileged"], "grep CapEff /proc/self/status", r"CapEff:\t00000(03f|1ff)f[ef]f{6}"),
    ("confined", [], "grep -E 'Seccomp:' /proc/self/status; cat /proc/1/cgroup >/tmp/1; cat /proc/self/cgroup >/tmp/s; cmp /tmp/1 /tmp/s",
     r"Seccomp:\t2"),
    ("stdin", ["-i"], "cat", r"\Atyped\n"),
    ("sees-init", [], "ps", r"^ *1 .*sleep 100000"),
]


def ids(cases):
    return [case[0] for case in cases]


def run_case(client, case, folder):
    name, flags, script, pattern = case
    (folder / "given").write_text("given\n")
    (folder / "deny-mkdir.json").write_text(DENY_MKDIR)
    flags = [f.format(dir=folder) for f in flags]
    argv = ["-c", "echo entered"] if script is None else ["sh", "-c", script]
    done = client("run", "--rm", "--network", "none", *flags, IMAGE, *argv, input="typed\n" if name == "stdin" else None)
    assert re.search(pattern, done.out, re.M), repr(done)
    if name == "streams":
        assert done.err == "err\n", repr(done)
    if name == "volume":
        assert (folder / "made").read_text() == "back\n"


def exec_case(client, box, case):
    name, flags, script, pattern = case
    done = client("exec", *flags, box, "sh", "-c", script, input="typed\n" if name == "stdin" else None)
    assert re.search(pattern, done.out, re.M), repr(done)
    if name == "streams":
        assert done.err == "err\n", repr(done)


def exit_codes(client, *flags):
    """The statuses that scripts rely on."""
    for argv, rc in ((["true"], 0), (["sh", "-c", "exit 3"], 3), (["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137), (["nosuch"], 127), (["/no/such"], 127),
                     (["/etc/not-executable"], 126), (["/etc"], 126)):
        done = client("run", "--rm", "--network", "none", *flags, IMAGE, *argv, check=False)
        assert done.rc == rc, repr(done)


def host_namespace(client, flag, kinds):
    for kind in kinds:
        link = client("run", "--rm", *([] if flag == "network" else ["--network", "none"]), f"--{flag}", "host", IMAGE,
                      "readlink", f"/proc/self/ns/{kind}").out.strip()
        here = command(client.inside("readlink", f"/proc/self/ns/{kind}")).out.strip()
        assert link == here, f"{kind}: {link} is not {here}"


def share_pid(client, box):
    """--pid container: and --network container: join those of another."""
    for flag, kind in (("--pid", "pid"), ("--network", "net"), ("--ipc", "ipc")):
        wanted = client("exec", box, "readlink", f"/proc/1/ns/{kind}").out
        network = [] if flag == "--network" else ["--network", "none"]
        assert client("run", "--rm", *network, flag, f"container:{box}", IMAGE, "readlink", f"/proc/self/ns/{kind}").out == wanted


def kill_and_wait(client, name):
    """A signal by name reaches the workload; wait gives its status; logs what it said."""
    client("run", "-d", "--name", name, "--network", "none", IMAGE, "sh", "-c",
           "trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.05; done")
    until(lambda: "ready" in client("logs", name).out)
    client("kill", "-s", "USR1", name)
    assert client("wait", name).out.strip() == "5"
    assert client("logs", name).lines == ["ready", "caught"]
    assert client("kill", name, check=False).rc != 0  # it is not running
    client("rm", name)


def stop(client, name, status):
    """SIGTERM to what listens, SIGKILL to what does not."""
    client("run", "-d", "--name", name, "--network", "none", "--init", IMAGE, "sleep", "100000")
    client("stop", "-t", "10", name)
    assert status(name) == ("exited", 143)
    client("rm", name)
    client("run", "-d", "--name", name, "--network", "none", IMAGE, "sleep", "100000")
    client("stop", "-t", "1", name)
    assert status(name) == ("exited", 137)
    client("start", name)
    assert status(name)[0] == "running"
    client("restart", "-t", "0", name)
    assert status(name)[0] == "running"
    client.remove(name)


def pause(client, name, status, folder):
    """Nothing moves while it is paused, exec is refused, and afterwards it goes on."""
    client("run", "-d", "--name", name, "--network", "none", "-v", f"{folder}:/d", IMAGE, "sh", "-c",
           "while :; do echo x >>/d/ticks; sleep 0.02; done")
    ticks = folder / "ticks"
    until(lambda: ticks.exists() and ticks.stat().st_size > 0)
    client("pause", name)
    assert status(name)[0] == "paused"
    size = until(lambda: ticks.stat().st_size)
    assert client("exec", name, "true", check=False).rc != 0
    assert ticks.stat().st_size == size
    client("unpause", name)
    until(lambda: ticks.stat().st_size > size)
    assert status(name)[0] == "running"
    client.remove(name)


def update(client, name, *flags):
    """New limits are seen inside at once. flags: what only this client has, --pids-limit 44."""
    client("run", "-d", "--name", name, "--network", "none", "--memory", "64m", "--memory-swap", "64m", IMAGE, "sleep", "100000")
    client("update", "--memory", "48m", "--memory-swap", "48m", "--cpu-quota", "30000", "--cpu-period", "60000", "--cpu-shares", "99",
           "--cpuset-cpus", "1", *flags, name)
    read = client("exec", name, "sh", "-c", f"cd {CGROUP}; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us "
                  "cpu/cpu.shares pids/pids.max cpuset/cpuset.cpus; nproc").lines
    assert read == ["50331648", "30000", "60000", "99", "44" if flags else read[4], "1", "1"]
    client.remove(name)


def out_of_memory(client, name, inspect, **kw):
    done = client("run", "--name", name, "--network", "none", "--memory", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c",
           "tail /dev/zero; status=$?; sleep 0.5; exit $status", check=False, **kw)
    assert done.rc == 137 and inspect(name)["State"]["ExitCode"] == 137, repr(done)


def restart_policy(client, name, folder):
    """on-failure:2 is three runs in all."""
    client("run", "-d", "--name", name, "--network", "none", "--restart", "on-failure:2", "-v", f"{folder}:/d", IMAGE, "sh", "-c",
           "echo x >>/d/runs; exit 7")
    runs = folder / "runs"
    until(lambda: runs.exists() and runs.read_text() == "x\n" * 3, timeout=20)
    until(lambda: client("wait", name).out.strip() == "7")
    client.remove(name)
    assert runs.read_text() == "x\n" * 3


def tty(client, name):
    """A terminal of the client's size, which follows when that changes."""
    script = "test -t 0 && test -t 1 && tty; until [ \"$(stty size)\" = '33 111' ]; do sleep 0.02; done; echo first; " \
             "until [ \"$(stty size)\" = '44 122' ]; do sleep 0.02; done; echo second; read x; echo \"got $x\"; exit 6"
    done = client.terminal("run", "--rm", "-it", "--name", name, "--network", "none", IMAGE, "sh", "-c", script, size=(33, 111),
                           steps=[("first", (44, 122)), ("second", b"typed\n")])
    assert done.rc == 6 and "/dev/pts/0" in done.out and "got typed" in done.out, repr(done)


def exec_tty(client, box):
    script = "tty; until [ \"$(stty size)\" = '33 111' ]; do sleep 0.02; done; echo first; " \
             "until [ \"$(stty size)\" = '44 122' ]; do sleep 0.02; done; exit 6"
    done = client.terminal("exec", "-it", box, "sh", "-c", script, size=(33, 111), steps=[("first", (44, 122))])
    assert done.rc == 6 and "/dev/pts/" in done.out, repr(done)


def exec_detached(client, box):
    client("exec", "-d", box, "sh", "-c", "echo done >/tmp/detached")
    until(lambda: client("exec", box, "cat", "/tmp/detached", check=False).out == "done\n")
    client("exec", box, "rm", "/tmp/detached")
