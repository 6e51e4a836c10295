"""Docker drives the runtime, as its default runtime."""

import json
import re
import uuid

import pytest

import oci_cases as cases
from cli import command, until
from oci_clients import IMAGE, RUNTIME, Docker


@pytest.fixture(scope="module")
def docker(house):
    client = Docker()
    yield client
    client.close()


@pytest.fixture(scope="module")
def box(docker):
    docker("run", "-d", "--name", "box", "--network", "none", "--ipc", "shareable", IMAGE, "sleep", "100000")
    yield "box"
    docker.remove("box")


@pytest.fixture
def name(docker):
    chosen = "c-" + uuid.uuid4().hex[:8]
    yield chosen
    docker.remove(chosen)


@pytest.fixture
def inspect(docker):
    return lambda name: docker("inspect", name).json[0]


@pytest.fixture
def status(inspect):
    def read(name):
        state = inspect(name)["State"]
        return state["Status"], state["ExitCode"]
    return read


def test_runtime_is_the_one_asked_for(docker, box):
    assert docker("info", "--format", "{{json .Runtimes}}").json["proa"]["path"] == RUNTIME
    assert docker("inspect", "--format", "{{.HostConfig.Runtime}}", box).out.strip() == "proa"


@pytest.mark.parametrize("case", cases.RUN, ids=cases.ids(cases.RUN))
def test_run(docker, case, tmp_path):
    cases.run_case(docker, case, tmp_path)


def test_default_seccomp_profile_refuses_user_namespaces(docker):
    done = docker("run", "--rm", "--network", "none", IMAGE, "unshare", "-U", "true", check=False)
    assert done.rc != 0 and "not permitted" in done.err, repr(done)


def test_exit_codes(docker):
    cases.exit_codes(docker)
    assert docker("run", "--rm", "--no-such-flag", IMAGE, "true", check=False).rc == 125


@pytest.mark.parametrize("flag,kinds", cases.OWN, ids=cases.ids(cases.OWN))
def test_namespaces_of_the_host(docker, flag, kinds):
    cases.host_namespace(docker, flag, kinds)


def test_namespaces_of_another(docker, box):
    cases.share_pid(docker, box)


@pytest.mark.parametrize("case", cases.EXEC, ids=cases.ids(cases.EXEC))
def test_exec(docker, box, case):
    cases.exec_case(docker, box, case)


def test_exec_exit_codes(docker, box):
    for argv, rc in ((["true"], 0), (["sh", "-c", "exit 9"], 9), (["nosuch"], 126), (["/etc/not-executable"], 126)):
        done = docker("exec", box, *argv, check=False)
        assert done.rc == rc or (argv == ["nosuch"] and done.rc == 127), repr(done)
    assert "executable file not found" in docker("exec", box, "nosuch", check=False).err + \
        docker("exec", box, "nosuch", check=False).out


def test_exec_detached(docker, box):
    cases.exec_detached(docker, box)


def test_exec_tty(docker, box):
    cases.exec_tty(docker, box)


def test_tty(docker, name):
    cases.tty(docker, name)


def test_kill_wait_logs(docker, name):
    cases.kill_and_wait(docker, name)


def test_stop_start_restart(docker, name, status):
    cases.stop(docker, name, status)


def test_pause(docker, name, status, tmp_path):
    cases.pause(docker, name, status, tmp_path)


def test_update(docker, name):
    cases.update(docker, name, "--pids-limit", "44")


def test_out_of_memory(docker, name, inspect):
    cases.out_of_memory(docker, name, inspect)
    assert inspect(name)["State"]["OOMKilled"] is True


def test_restart_policy(docker, name, tmp_path):
    cases.restart_policy(docker, name, tmp_path)


def test_stats(docker, box):
    stats = docker("stats", "--no-stream", "--format", "{{json .}}", box).json
    assert int(stats["PIDs"]) >= 1 and re.match(r"[1-9]", stats["MemUsage"]), stats


def test_top(docker, box):
    assert any("sleep 100000" in line for line in docker("top", box).lines)


def test_healthcheck(docker, name, inspect):
    docker("run", "-d", "--name", name, "--network", "none", "--health-cmd", "test -f /healthy", "--health-interval", "0.2s",
           "--health-retries", "1", "--health-timeout", "10s", IMAGE, "sleep", "100000")
    until(lambda: inspect(name)["State"]["Health"]["Status"] == "unhealthy")
    docker("exec", name, "touch", "/healthy")
    until(lambda: inspect(name)["State"]["Health"]["Status"] == "healthy")


def test_remove_of_a_running_one(docker, name):
    docker("run", "-d", "--name", name, "--network", "none", IMAGE, "sh", "-c", "sleep 100000 & sleep 100000")
    docker("rm", "-f", name)
    assert docker("ps", "-aq", "--filter", f"name={name}").out == ""


def test_shared_process_namespace_leaves_nothing(docker, name):
    """In the host's process namespace init's end kills nobody: the client asks the runtime to kill all."""
    docker("run", "-d", "--name", name, "--network", "none", "--pid", "host", IMAGE, "sh", "-c", "sleep 98765 & sleep 0.2")
    assert docker("wait", name).out.strip() == "0"
    until(lambda: "sleep 98765" not in command(["ps", "-eo", "args"]).out)


def test_network(docker, name):
    """The bridge's interface comes by a hook, which the runtime runs with the state on its standard input."""
    docker("run", "-d", "--name", name, IMAGE, "sh", "-c", "while :; do echo answer | nc -l -p 80; done")
    address = json.loads(docker("inspect", "--format", "{{json .NetworkSettings.Networks.bridge.IPAddress}}", name).out)
    assert f"inet {address}/" in docker("exec", name, "ip", "addr", "show", "eth0").out
    out = docker("run", "--rm", IMAGE, "sh", "-c", f"for i in 1 2 3 4 5; do nc {address} 80 </dev/null && break; sleep 0.1; done").out
    assert out == "answer\n"


def test_build(docker, tmp_path):
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nENV A=b\nRUN echo \"$A $(id -u)\" >/built\nUSER user\nWORKDIR /home/user\n"
                                         "RUN id -un >made; pwd >>made\nCMD cat /built made\n")
    env = {"DOCKER_BUILDKIT": "0"}
    docker("build", "-q", "--network", "none", "-t", "built", tmp_path, timeout=120, env=env)
    try:
        assert docker("run", "--rm", "--network", "none", "built").out == "b 0\nuser\n/home/user\n"
    finally:
        docker("rmi", "-f", "built")
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN exit 9\n")
    done = docker("build", "--network", "none", "-t", "failed", tmp_path, check=False, timeout=120, env=env)
    assert "returned a non-zero code: 9" in done.err, repr(done)
    docker("container", "prune", "-f")
