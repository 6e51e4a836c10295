"""Podman drives the runtime."""

import os
import re
import uuid

import pytest

import oci_cases as cases
from cli import command, until
from oci_clients import HOME, IMAGE, RUNTIME, Podman, forget_cgroups

RANGES = "root:100000:65536\ncontainers:200000:1048576\n"


@pytest.fixture(scope="module")
def podman(house):
    client = Podman()
    for path in ("/etc/subuid", "/etc/subgid"):  # ranges for --userns=auto, in copies that only this session sees
        copy = client.home + "/" + os.path.basename(path)
        with open(copy, "w") as f:
            f.write(RANGES)
        command(["mount", "--bind", copy, path])
    yield client
    for path in ("/etc/subuid", "/etc/subgid"):
        command(["umount", path])
    client.close()


@pytest.fixture(scope="module")
def box(podman):
    podman("run", "-d", "--name", "box", "--network", "none", IMAGE, "sleep", "100000")
    yield "box"
    podman.remove("box")


@pytest.fixture
def name(podman):
    chosen = "c-" + uuid.uuid4().hex[:8]
    yield chosen
    podman.remove(chosen)


@pytest.fixture
def inspect(podman):
    return lambda name: podman("inspect", name).json[0]


@pytest.fixture
def status(inspect):
    def read(name):
        state = inspect(name)["State"]
        return state["Status"], state["ExitCode"]
    return read


def test_runtime_is_the_one_asked_for(podman, box):
    assert podman("info", "--format", "{{.Host.OCIRuntime.Path}}").out.strip() == RUNTIME
    assert podman("inspect", "--format", "{{.OCIRuntime}}", box).out.strip() == RUNTIME


@pytest.mark.parametrize("case", cases.RUN, ids=cases.ids(cases.RUN))
def test_run(podman, case, tmp_path):
    cases.run_case(podman, case, tmp_path)


def test_exit_codes(podman):
    cases.exit_codes(podman)
    assert podman("run", "--rm", "--no-such-flag", IMAGE, "true", check=False).rc == 125


@pytest.mark.parametrize("flag,kinds", cases.OWN, ids=cases.ids(cases.OWN))
def test_namespaces_of_the_host(podman, flag, kinds):
    cases.host_namespace(podman, flag, kinds)


def test_namespaces_of_another(podman, box):
    cases.share_pid(podman, box)


@pytest.mark.parametrize("case", cases.EXEC, ids=cases.ids(cases.EXEC))
def test_exec(podman, box, case):
    cases.exec_case(podman, box, case)


def test_exec_exit_codes(podman, box):
    for argv, rc in ((["true"], 0), (["sh", "-c", "exit 9"], 9), (["nosuch"], 127), (["/no/such"], 127), (["/etc/not-executable"], 126)):
        done = podman("exec", box, *argv, check=False)
        assert done.rc == rc, repr(done)


def test_exec_detached(podman, box):
    cases.exec_detached(podman, box)


def test_exec_tty(podman, box):
    cases.exec_tty(podman, box)


def test_exec_keeps_descriptors(podman, box, tmp_path):
    (tmp_path / "f").write_text("passed\n")
    argv = podman.argv("exec", "--preserve-fds", "1", box, "cat", "/proc/self/fd/3")
    assert command(["sh", "-c", f'exec "$@" 3<{tmp_path}/f', "sh", *argv], env=podman.env).out == "passed\n"


def test_tty(podman, name):
    cases.tty(podman, name)


def test_kill_wait_logs(podman, name):
    cases.kill_and_wait(podman, name)


def test_stop_start_restart(podman, name, status):
    cases.stop(podman, name, status)


def test_pause(podman, name, status, tmp_path):
    cases.pause(podman, name, status, tmp_path)


def test_update(podman, name):
    cases.update(podman, name)


def test_out_of_memory(podman, name, inspect, tmp_path):
    """conmon hears of it from the memory group; this version leaves its note where it was started, not where
    Podman looks for it, so that OOMKilled stays false whatever the runtime does."""
    cases.out_of_memory(podman, name, inspect, cwd=tmp_path)
    assert (tmp_path / "oom").exists()


def test_restart_policy(podman, name, tmp_path):
    cases.restart_policy(podman, name, tmp_path)


def test_stats(podman, box):
    stats = podman("stats", "--no-stream", "--format", "json", box).json[0]
    assert int(stats["pids"]) >= 1 and re.match(r"[1-9]", stats["mem_usage"]), stats


def test_top(podman, box):
    assert any("sleep 100000" in line for line in podman("top", box).lines)


def test_healthcheck(podman, name, inspect):
    podman("run", "-d", "--name", name, "--network", "none", "--health-cmd", "test -f /healthy", "--health-interval", "disable",
           "--health-retries", "1", IMAGE, "sleep", "100000")
    assert podman("healthcheck", "run", name, check=False).rc == 1
    podman("exec", name, "touch", "/healthy")
    assert podman("healthcheck", "run", name).rc == 0
    health = inspect(name)["State"]["Health"]
    assert health["Status"] == "healthy", health


def test_remove_of_a_running_one(podman, name):
    podman("run", "-d", "--name", name, "--network", "none", IMAGE, "sh", "-c", "sleep 100000 & sleep 100000")
    podman("rm", "-f", "-t", "0", name)
    assert podman("ps", "-aq", "--filter", f"name={name}").out == ""


def test_user_namespace(podman):
    fixed = podman("run", "--rm", "--network", "none", "--uidmap", "0:300000:1000", "--gidmap", "0:400000:1000", IMAGE, "sh", "-c",
                   "cat /proc/self/uid_map /proc/self/gid_map; id -u; touch /x; stat -c %u /x; mount -t tmpfs t /mnt 2>&1; true")
    assert re.sub(" +", " ", fixed.out).splitlines()[:4] == [" 0 300000 1000", " 0 400000 1000", "0", "0"], repr(fixed)
    auto = podman("run", "--rm", "--network", "none", "--userns", "auto:size=2048", IMAGE, "cat", "/proc/self/uid_map").out.split()
    assert auto[0] == "0" and int(auto[1]) >= 200000 and auto[2] == "2048"


def test_user_namespace_exec(podman, name):
    podman("run", "-d", "--name", name, "--network", "none", "--uidmap", "0:300000:1000", "--gidmap", "0:300000:1000", IMAGE, "sleep", "100000")
    assert podman("exec", name, "sh", "-c", "id -u; cat /proc/self/uid_map").out.split() == ["0", "0", "300000", "1000"]


def test_idmapped_volume(podman, tmp_path):
    """The volume's owner 0 is the container's 0, though that is 300000 here; what it makes is 0's here."""
    folder = f"{HOME}/idmapped"
    os.makedirs(folder, exist_ok=True)
    out = podman("run", "--rm", "--network", "none", "--uidmap", "0:300000:1000", "--gidmap", "0:300000:1000", "-v", f"{folder}:/d:idmap",
                 IMAGE, "sh", "-c", "stat -c %u:%g /d; touch /d/made").out
    assert out == "0:0\n"
    assert os.stat(f"{folder}/made").st_uid == 0
    os.unlink(f"{folder}/made")
    os.rmdir(folder)


def test_tmpfs_copies_what_is_there(podman):
    """tmpcopyup, which is no option of the kernel's, is Podman's default for --tmpfs."""
    out = podman("run", "--rm", "--network", "none", "--tmpfs", "/home", IMAGE, "sh", "-c", "ls /home; grep -c ' /home tmpfs' /proc/mounts").out
    assert out == "user\n1\n"


def test_read_only_tmpfs_and_masks(podman):
    out = podman("run", "--rm", "--network", "none", "--security-opt", "unmask=ALL", IMAGE, "sh", "-c", "head -c 1 /proc/timer_list | wc -c").out
    assert out == "1\n"


def test_pod_shares_namespaces(podman, name):
    """The members of a pod join the namespaces of its first, which holds them."""
    pod = podman("pod", "create", "--name", name + "-pod", "--network", "none", "--share", "net,ipc,uts,pid").out.strip()
    try:
        podman("run", "-d", "--pod", name + "-pod", "--name", name, IMAGE, "sleep", "100000")
        for kind in ("net", "ipc", "uts", "pid"):
            link = ["readlink", f"/proc/self/ns/{kind}"]
            assert podman("exec", name, *link).out == podman("run", "--rm", "--pod", name + "-pod", IMAGE, *link).out
    finally:
        podman("pod", "rm", "-f", "-t", "0", name + "-pod")
        for image in podman("images", "-q", "localhost/podman-pause").lines:
            podman("rmi", "-f", image)
        forget_cgroups("libpod_parent/" + pod)  # Podman takes away those with a controller only


def test_network(podman, name):
    """Podman makes the network namespace and the interface in it; the runtime joins it."""
    podman("run", "-d", "--name", name, IMAGE, "sh", "-c", "while :; do echo answer | nc -l -p 80; done")
    address = podman("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name).out.strip()
    assert f"inet {address}/" in podman("exec", name, "ip", "addr", "show", "eth0").out
    out = podman("run", "--rm", IMAGE, "sh", "-c", f"for i in 1 2 3 4 5; do nc {address} 80 </dev/null && break; sleep 0.1; done").out
    assert out == "answer\n"


def test_build(podman, tmp_path):
    """RUN steps go through the runtime; a failing one fails the build."""
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nENV A=b\nRUN echo \"$A $(id -u)\" >/built\nUSER user\nWORKDIR /home/user\n"
                                         "RUN id -un >made; pwd >>made\nCMD cat /built made\n")
    podman("build", "-q", "--isolation", "oci", "--network", "none", "-t", "built", tmp_path, timeout=120)
    try:
        assert podman("run", "--rm", "--network", "none", "built").out == "b 0\nuser\n/home/user\n"
    finally:
        podman("rmi", "-f", "built")
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN exit 9\n")
    done = podman("build", "--isolation", "oci", "--network", "none", "-t", "failed", tmp_path, check=False, timeout=120)
    assert done.rc == 9 or "exit status 9" in done.err, repr(done)
