"""proa-oci by itself: every verb of the OCI runtime command line, as runc and crun spell them."""

import array
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from cli import until
from oci_bundle import OCI, Bundle, Runtime


@pytest.fixture
def oci(tmp_path):
    runtime = Runtime(tmp_path)
    yield runtime
    runtime.clear()


@pytest.fixture
def bundle(tmp_path):
    return Bundle(tmp_path)


def test_run_ends_as_its_process_does(oci, bundle):
    assert bundle.run(oci, "sh", "-c", "echo out; echo err >&2; exit 7", check=False).code == 7
    done = bundle.run(oci, "sh", "-c", "cat; id -u", input="in\n", check=True)
    assert done.lines == ["in", "0"]
    assert bundle.run(oci, "nosuch").code == 127
    assert "executable file not found in $PATH" in bundle.run(oci, "nosuch").err
    assert bundle.run(oci, "/etc").code == 126
    assert oci.ids() == []


def test_the_life_of_a_container(oci, bundle, tmp_path):
    bundle.write("sh", "-c", "echo started; exec sleep 1000")
    pid_file = tmp_path / "pid"
    assert oci.background("create", "--bundle", bundle.path, "--pid-file", pid_file, "c").returncode == 0
    state = oci.state("c")
    assert state["status"] == "created" and state["id"] == "c" and state["bundle"] == bundle.path
    assert pid_file.read_text() == str(state["pid"])
    assert oci.output() == ""
    again = oci("create", "--bundle", bundle.path, "c", check=False)
    assert "already exists" in again.err
    assert "not stopped: created" in oci("delete", "c", check=False).err
    oci("start", "c", check=True)
    until(lambda: oci.output() == "started\n")
    assert oci.state("c")["status"] == "running"
    assert "already running" in oci("start", "c", check=False).err
    assert "not stopped: running" in oci("delete", "c", check=False).err
    oci("kill", "c", "KILL", check=True)
    until(lambda: oci.state("c")["status"] == "stopped")
    assert "container not running" in oci("kill", "c", "KILL", check=False).err
    oci("delete", "c", check=True)
    assert "does not exist" in oci("state", "c", check=False).err
    assert "does not exist" in oci("delete", "c", check=False).err
    oci("delete", "--force", "c", check=True)


def test_a_created_container_can_be_killed(oci, bundle):
    bundle.write("true")
    oci.background("create", "--bundle", bundle.path, "c")
    oci("kill", "c", "KILL", check=True)
    until(lambda: oci.state("c")["status"] == "stopped")
    assert "has stopped" in oci("start", "c", check=False).err


def test_list_and_ps(oci, bundle):
    name = bundle.start(oci, "sleep", "1000")
    rows = json.loads(oci("list", "--format", "json", check=True).out)
    assert [(r["id"], r["status"], r["owner"]) for r in rows] == [(name, "running", "root")]
    assert oci("list", check=True).lines[0].split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert oci("list", "-q", check=True).lines == [name]
    assert json.loads(oci("ps", "--format", "json", name, check=True).out) == [rows[0]["pid"]]
    assert "sleep 1000" in oci("ps", name, "-ef", check=True).out


def test_exec(oci, bundle, tmp_path):
    name = bundle.start(oci, "sleep", "1000")
    done = oci("exec", "--env", "A=b", "--cwd", "/tmp", "--user", "5:6", name, "sh", "-c",
               "echo $A; pwd; id -u; id -g; exit 3", check=False)
    assert (done.code, done.lines) == (3, ["b", "/tmp", "5", "6"])
    assert oci("exec", name, "cat", input="through\n", check=True).out == "through\n"
    missing = oci("exec", name, "nosuch", check=False)
    assert missing.code == 255 and "executable file not found" in missing.err
    process = tmp_path / "process.json"
    process.write_text(json.dumps({"args": ["sh", "-c", "echo $X >/tmp/mark; sleep 1000"], "cwd": "/", "env": [
        "PATH=/bin", "X=detached"], "user": {"uid": 0, "gid": 0}}))
    pid_file = tmp_path / "pid"
    assert oci.background("exec", "--process", process, "--detach", "--pid-file", pid_file, name).returncode == 0
    until(lambda: os.path.exists(bundle.rootfs + "/tmp/mark"))
    assert open(bundle.rootfs + "/tmp/mark").read() == "detached\n"
    assert len(json.loads(oci("ps", "--format", "json", name).out)) >= 2
    assert os.path.exists("/proc/" + pid_file.read_text())
    assert "no command" in oci("exec", name, check=False).err


def test_exec_capabilities_and_no_new_privileges(oci, bundle):
    name = bundle.start(oci, "sleep", "1000")
    status = oci("exec", "--cap", "CAP_SYS_ADMIN", "--no-new-privs", name, "cat", "/proc/self/status", check=True).out
    fields = dict(line.split(":", 1) for line in status.splitlines())
    assert int(fields["CapEff"], 16) & 1 << 21 and fields["NoNewPrivs"].strip() == "1"
    assert int(fields["CapInh"], 16) == 0


def test_capabilities_that_cannot_be_given_are_a_warning(oci, bundle, tmp_path):
    log = tmp_path / "log"
    names = ["CAP_KILL", "CAP_MAGIC", "CAP_BAD\nLINE"]
    bundle.config["process"]["capabilities"] = {kind: names for kind in ("bounding", "effective", "permitted")}
    bundle.write("cat", "/proc/self/status")
    done = oci("--log", log, "--log-format", "json", "run", "--bundle", bundle.path, "c", check=True)
    assert dict(line.split(":\t", 1) for line in done.lines)["CapEff"] == "0000000000000020"
    assert len(done.err.splitlines()) == 1 and "CAP_MAGIC" in done.err and "CAP_KILL" not in done.err, done
    (line,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert line["level"] == "warning" and "CAP_MAGIC" in line["msg"]
    process = bundle.path + "/process.json"
    with open(process, "w") as f:
        json.dump({**bundle.config["process"], "args": ["echo", "hi"]}, f)
    name = bundle.start(oci, "sleep", "1000")
    log.unlink()
    done = oci("--log", log, "exec", "--process", process, name, check=True)
    assert done.out == "hi\n" and "level=warning" in log.read_text()
    assert "CAP_MAGIC" in oci("exec", "--cap", "CAP_MAGIC", name, "true", check=False).err


def test_the_callers_groups_can_stay(oci, bundle):
    bundle.config["process"]["user"]["additionalGids"] = [7]
    bundle.write("id", "-G")
    groups = ["setpriv", "--groups", "4,5"]
    assert oci("run", "--bundle", bundle.path, "a", prefix=groups, check=True).out == "0 7\n"
    bundle.config["annotations"] = {"run.oci.keep_original_groups": "1"}
    bundle.write("id", "-G")
    assert oci("run", "--bundle", bundle.path, "b", prefix=groups, check=True).out == "0 4 5\n"
    name = bundle.start(oci, "sleep", "1000")
    assert oci("exec", name, "id", "-G", prefix=groups, check=True).out == "0 4 5\n"
    features = json.loads(oci("features", check=True).out)
    assert features["potentiallyUnsafeConfigAnnotations"] == ["run.oci.keep_original_groups"]


@pytest.mark.parametrize("option", ["sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand", "silent", "loud"])
def test_options_of_every_file_system(oci, bundle, option):
    assert option in json.loads(oci("features", check=True).out)["mountOptions"]
    bundle.config["mounts"].append({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": [option]})
    done = bundle.run(oci, "grep", "/data", "/proc/self/mountinfo", check=True)
    if option in ("sync", "dirsync", "lazytime"):
        assert option in done.out.split(" - ")[1], done


def test_what_the_host_does_not_have_is_one_line(oci, bundle):
    def said(**members):
        bundle.config["linux"].update(members)
        done = bundle.run(oci, "true")
        for key in members:
            del bundle.config["linux"][key]
        assert done.code == 1 and len(done.err.splitlines()) == 1 and oci.ids() == [], done
        return done.err
    if not os.path.exists("/sys/fs/resctrl/schemata"):
        assert "no resctrl file system is mounted" in said(intelRdt={"l3CacheSchema": "L3:0=f"})
    assert "runtime-spec 1.3" in said(netDevices={"eth0": {}})


def test_pause_and_resume(oci, bundle):
    name = bundle.start(oci, "sleep", "1000")
    oci("pause", name, check=True)
    assert oci.state(name)["status"] == "paused"
    assert "paused" in oci("exec", name, "true", check=False).err
    oci("resume", name, check=True)
    assert oci.state(name)["status"] == "running"
    assert "not paused" in oci("resume", name, check=False).err


def receive_terminal(path, result):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        result["ready"].set()
        connection, _ = listener.accept()
        data, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
        result["name"] = data
        result["fd"] = array.array("i", ancillary[0][2])[0]
        connection.close()


def with_console_socket(tmp_path, action):
    path, result = str(tmp_path / "console"), {"ready": threading.Event()}
    receiver = threading.Thread(target=receive_terminal, args=(path, result))
    receiver.start()
    result["ready"].wait(10)
    action(path)
    receiver.join(10)
    os.unlink(path)
    return result


def read_until(fd, wanted):
    text = b""
    while wanted not in text:
        text += os.read(fd, 4096)
    return text


def test_console_socket(oci, bundle, tmp_path):
    bundle.config["process"].update(terminal=True, consoleSize={"height": 33, "width": 77})
    bundle.write("sh", "-c", "tty; stat -c %t:%T /dev/console; exec sleep 1000")
    assert "--console-socket" in oci("create", "--bundle", bundle.path, "c", check=False).err
    assert oci.ids() == []

    def create(path):
        done = oci.background("create", "--bundle", bundle.path, "--console-socket", path, "c")
        assert done.returncode == 0, done.stderr
    result = with_console_socket(tmp_path, create)
    assert result["name"]
    import fcntl
    import termios
    size = struct.unpack("HHHH", fcntl.ioctl(result["fd"], termios.TIOCGWINSZ, b"\0" * 8))
    assert size[:2] == (33, 77)
    oci("start", "c", check=True)
    assert b"/dev/pts/0" in read_until(result["fd"], b"88:0")
    os.close(result["fd"])

    def execute(path):
        done = oci.background("exec", "--tty", "--detach", "--console-socket", path, "c", "sh", "-c", "tty; sleep 1000")
        assert done.returncode == 0, done.stderr
    result = with_console_socket(tmp_path, execute)
    assert b"/dev/pts/1" in read_until(result["fd"], b"pts/1")
    os.close(result["fd"])


def test_run_on_a_terminal(oci, bundle):
    bundle.config["process"]["terminal"] = True
    bundle.write("sh", "-c", "tty; exit 4")
    pid, master = pty.fork()
    if pid == 0:
        os.execv(OCI, [OCI, "--root", oci.root, "run", "--bundle", bundle.path, "c"])
    text = b""
    try:
        while True:
            text += os.read(master, 4096)
    except OSError:
        pass
    os.close(master)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
    assert b"/dev/pts/0" in text


def test_signals_reach_a_foreground_container(oci, bundle):
    bundle.write("sh", "-c", "trap 'echo got; exit 9' TERM; echo up; while :; do sleep 0.1; done")
    process = subprocess.Popen([OCI, "--root", oci.root, "run", "--bundle", bundle.path, "c"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read() == "got\n" and process.wait(20) == 9


def test_preserved_descriptors(oci, bundle):
    read, write = os.pipe()
    os.set_inheritable(write, True)
    bundle.write("sh", "-c", "echo through >&3; ls /proc/self/fd")
    pid = os.fork()
    if pid == 0:
        os.dup2(write, 3)
        os.closerange(4, 100)
        os.execv(OCI, [OCI, "--root", oci.root, "run", "--preserve-fds", "1", "--bundle", bundle.path, "c"])
    os.close(write)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert os.read(read, 100) == b"through\n"
    os.close(read)
    assert "is not open" in oci("run", "--preserve-fds", "9", "--bundle", bundle.path, "c", check=False).err


def hook(bundle, name, log, script="cat", **more):
    return {"path": "/bin/sh", "args": ["sh", "-c", f"printf '{name} ' >>{log}; {script} >>{log}; echo >>{log}"], **more}


def test_hooks_run_in_their_order_with_the_state(oci, bundle, tmp_path):
    log = tmp_path / "log"
    inside = bundle.rootfs + "/tmp/log"
    kinds = ("prestart", "createRuntime", "poststart", "poststop")
    bundle.config["hooks"] = {kind: [hook(bundle, kind, log)] for kind in kinds}
    bundle.config["hooks"]["createContainer"] = [hook(bundle, "createContainer", log)]
    bundle.config["hooks"]["startContainer"] = [hook(bundle, "startContainer", "/tmp/log")]
    bundle.config["annotations"] = {"a": "b"}
    bundle.write("sleep", "1000")
    assert oci.background("create", "--bundle", bundle.path, "c").returncode == 0
    pid = oci.state("c")["pid"]
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["prestart", "createRuntime", "createContainer"]
    assert not os.path.exists(inside)
    oci("start", "c", check=True)
    oci("kill", "c", "KILL", check=True)
    until(lambda: oci.state("c")["status"] == "stopped")
    oci("delete", "c", check=True)
    seen = {}
    for line in log.read_text().splitlines() + open(inside).read().splitlines():
        kind, text = line.split(" ", 1)
        seen[kind] = json.loads(text)
    assert set(seen) == {*kinds, "createContainer", "startContainer"}
    for kind, state in seen.items():
        assert (state["id"], state["bundle"], state["annotations"]) == ("c", bundle.path, {"a": "b"}), kind
    assert seen["prestart"]["pid"] == seen["poststart"]["pid"] == pid
    assert seen["poststart"]["status"] == "running" and seen["poststop"]["status"] == "stopped"


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_fails_leaves_nothing(oci, bundle, kind):
    bundle.config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", "echo no luck >&2; exit 3"]}]}
    done = bundle.run(oci, "echo", "ran")
    assert done.code != 0 and "no luck" in done.err and kind in done.err and "ran" not in done.out
    assert oci.ids() == []


def test_a_hook_has_no_more_time_than_its_own(oci, bundle):
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]}
    assert "longer than its 1 second" in bundle.run(oci, "true", check=False).err


def test_update_changes_the_limits(oci, bundle, tmp_path):
    name = bundle.start(oci, "sleep", "1000")
    limits = {"memory": {"limit": 64 << 20}, "pids": {"limit": 33}, "cpu": {"quota": 20000, "period": 100000}}
    oci("update", "--resources", "-", name, input=json.dumps(limits), check=True)
    data = json.loads(oci("events", "--stats", name, check=True).out)["data"]
    assert data["memory"]["usage"]["limit"] == 64 << 20 and data["pids"]["limit"] == 33
    oci("update", "--memory", "96m", "--pids-limit", "34", name, check=True)
    data = json.loads(oci("events", "--stats", name, check=True).out)["data"]
    assert data["memory"]["usage"]["limit"] == 96 << 20 and data["pids"]["limit"] == 34
    assert data["memory"]["raw"] and data["cpu"]["usage"]["total"] > 0 and data["cpuset"]["cpus"], data
    if os.path.exists("/sys/fs/cgroup/cpuacct/cpuacct.usage_percpu"):
        assert sum(data["cpu"]["usage"]["percpu"]) > 0 and data["cpu"]["usage"]["percpu_user"], data
    if os.path.exists("/proc/pressure/cpu"):
        assert {"some", "full"} <= set(data["memory"]["psi"]) and data["cpu"]["psi"] and data["blkio"]["psi"], data
    assert "no size" in oci("update", "--memory", "lots", name, check=False).err


def test_memory_that_runs_out_is_an_event(oci, bundle):
    bundle.config["linux"]["resources"]["memory"] = {"limit": 6 << 20}
    name = bundle.start(oci, "sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.05; done; dd if=/dev/zero of=/dev/null "
                        "bs=32M count=1; sleep 1000")
    events = subprocess.Popen([OCI, "--root", oci.root, "events", "--interval", "200ms", name], stdout=subprocess.PIPE,
                              text=True)
    assert json.loads(events.stdout.readline())["type"] == "stats"
    open(bundle.rootfs + "/tmp/go", "w").close()
    deadline = time.monotonic() + 20
    while json.loads(events.stdout.readline())["type"] != "oom":
        assert time.monotonic() < deadline
    oci("kill", name, "KILL", check=True)
    events.communicate(timeout=20)
    assert events.returncode == 0


def test_log_files_are_as_callers_read_them(oci, bundle, tmp_path):
    log = tmp_path / "log"
    oci("--log", log, "--log-format", "json", "start", "nosuch", check=False)
    entry = json.loads(log.read_text())
    assert entry["level"] == "error" and "does not exist" in entry["msg"] and entry["time"].endswith("Z")
    text = tmp_path / "text"
    oci("--log", text, "state", "nosuch", check=False)
    assert 'level=error msg="container nosuch does not exist"' in text.read_text()
    assert "text or json" in oci("--log-format", "xml", "list", check=False).err


def test_features_and_version(oci):
    features = json.loads(oci("features", check=True).out)
    assert features["ociVersionMax"] == "1.2.0" and "createRuntime" in features["hooks"]
    assert {"rro", "ridmap", "tmpcopyup"} <= set(features["mountOptions"])
    assert features["linux"]["seccomp"]["enabled"] and "CAP_SYS_ADMIN" in features["linux"]["capabilities"]
    assert oci("--version", check=True).lines[0].startswith("proa-oci version ")


def test_spec_does_not_overwrite(oci, tmp_path):
    oci("spec", "--bundle", tmp_path, check=True)
    assert "exists" in oci("spec", "--bundle", tmp_path, check=False).err
    os.unlink(tmp_path / "config.json")
    oci("spec", "--rootless", "--bundle", tmp_path, check=True)
    assert {"type": "user"} in json.loads((tmp_path / "config.json").read_text())["linux"]["namespaces"]


def test_settings_of_the_host(oci, bundle):
    """Scheduler, I/O priority, personality, time offsets: what few configurations have."""
    bundle.config["process"].update(scheduler={"policy": "SCHED_BATCH", "nice": 3},
                                    ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 6})
    bundle.config["linux"]["personality"] = {"domain": "LINUX32"}
    bundle.config["linux"]["namespaces"].append({"type": "time"})
    bundle.config["linux"]["timeOffsets"] = {"boottime": {"secs": 86400 * 400}}
    done = bundle.run(oci, "sh", "-c", "uname -m; cat /proc/uptime; grep -E '^policy' /proc/self/sched", check=True)
    assert done.lines[0] in ("i686", "i386")
    assert float(done.lines[1].split()[0]) > 86400 * 400
    assert done.lines[2].split()[-1] == "3"


def test_tmpfs_begins_with_what_was_there(oci, bundle):
    os.makedirs(bundle.rootfs + "/data/sub")
    with open(bundle.rootfs + "/data/sub/file", "w") as f:
        f.write("kept")
    bundle.config["mounts"].append({"destination": "/data", "type": "tmpfs", "source": "tmpfs",
                                    "options": ["tmpcopyup", "nosuid"]})
    assert bundle.run(oci, "sh", "-c", "cat /data/sub/file; touch /data/new", check=True).out == "kept"
    assert not os.path.exists(bundle.rootfs + "/data/new")


@pytest.mark.parametrize("user", [False, True])
def test_mounts_with_shifted_owners(oci, bundle, tmp_path, user):
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "file").write_text("x")
    maps = [{"containerID": 0, "hostID": 5000, "size": 1000}]
    mount = {"destination": "/volume", "type": "bind", "source": str(volume), "options": ["rbind"]}
    if user:
        subprocess.run(["chown", "-R", "5000:5000", bundle.rootfs], check=True)
        os.chmod(tmp_path, 0o755)
        bundle.config["linux"]["namespaces"].append({"type": "user"})
        bundle.config["linux"].update(uidMappings=maps, gidMappings=maps)
        mount["options"].append("idmap")
    else:
        mount.update(uidMappings=maps, gidMappings=maps)
    bundle.config["mounts"].append(mount)
    done = bundle.run(oci, "sh", "-c", "stat -c '%u %g' /volume/file", check=True)
    assert done.lines == (["0 0"] if user else ["5000 5000"])
    if user:
        bundle.run(oci, "touch", "/volume/new", check=True)
        assert os.stat(volume / "new").st_uid == 0
    bundle.config["mounts"][-1] = {**mount, "options": ["rbind", "idmap"], "uidMappings": [], "gidMappings": []}
    if not user:
        assert "idmap needs mappings" in bundle.run(oci, "true", check=False).err


def test_mounts_with_shifted_owners_by_option(oci, bundle, tmp_path):
    """idmap=uids=FILE-HOST-SIZE, "@" when HOST is the container's; what cannot be done is one line."""
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "file").write_text("x")
    os.chown(volume / "file", 3, 7)
    mount = {"destination": "/volume", "type": "bind", "source": str(volume)}
    bundle.config["mounts"].append(mount)

    def owner(option):
        mount["options"] = ["bind", option]
        return bundle.run(oci, "stat", "-c", "%u %g", "/volume/file")
    assert owner("idmap=uids=0-0-3#3-5000-10;gids=7-6000-1").lines == ["5000 6000"]
    done = owner("idmap=uids=@0-0-3;gids=0-0-3")
    assert done.code == 1 and "no single mapping" in done.err and len(done.err.splitlines()) == 1, done
    subprocess.run(["chown", "-R", "5000:5000", bundle.rootfs], check=True)
    os.chmod(tmp_path, 0o755)
    maps = [{"containerID": 0, "hostID": 5000, "size": 1000}]
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    bundle.config["linux"].update(uidMappings=maps, gidMappings=maps)
    assert owner("idmap=uids=@0-40-10;gids=@7-8-1").lines == ["43 8"]
    assert owner("idmap").lines == ["3 7"]
    assert owner("bind").lines == ["65534 65534"]
    # /proc is a file system that no kernel shifts.
    mount.update(source="/proc/sys", options=["bind", "idmap"])
    done = bundle.run(oci, "true")
    assert done.code == 1 and len(done.err.splitlines()) == 1, done
    assert "mount on /volume: idmap" in done.err and "/proc/sys (file system proc)" in done.err, done
    mount.update(type="tmpfs", source="tmpfs", options=["idmap"])
    assert "mount on /volume: idmap is for bind mounts" in bundle.run(oci, "true", check=False).err


def test_a_seccomp_profile_can_ask(oci, bundle, tmp_path):
    """SCMP_ACT_NOTIFY, also for calls that handing the listener over takes."""
    import fcntl
    path, seen = str(tmp_path / "listener"), []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)

    def answer():
        connection, _ = listener.accept()
        data, descriptors, _, _ = socket.recv_fds(connection, 65536, 1)
        seen.append(json.loads(data))
        while True:
            request = bytearray(80)
            try:
                fcntl.ioctl(descriptors[0], 0xC0502100, request)
                number, call = struct.unpack_from("=Q", request)[0], struct.unpack_from("=i", request, 16)[0]
                refused = call == 83  # mkdir
                fcntl.ioctl(descriptors[0], 0xC0182101, bytearray(struct.pack(
                    "=QqiI", number, 0, -17 if refused else 0, 0 if refused else 1)))
            except OSError:
                break
        os.close(descriptors[0])
    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "listenerPath": path,
        "listenerMetadata": "text",
        "syscalls": [{"names": ["mkdir", "sendmsg", "execve", "futex"], "action": "SCMP_ACT_NOTIFY"}]}
    done = bundle.run(oci, "sh", "-c", "mkdir /tmp/new; ls /proc/self/fd | wc -l", check=True)
    assert "File exists" in done.err and done.out.strip() == "4" and not os.path.exists(bundle.rootfs + "/tmp/new")
    assert seen[0]["metadata"] == "text" and seen[0]["fds"] == ["seccompFd"] and seen[0]["state"]["status"] == "created"
    listener.close()


def test_a_cached_filter_is_used_again_and_checked(oci, bundle):
    """A file that another user could write, or with another profile's key, is not believed."""
    folder = "/run/proa-filters"
    bundle.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}
    before = set(os.listdir(folder)) if os.path.isdir(folder) else set()
    refused = bundle.run(oci, "mkdir", "/tmp/x", check=False).err
    assert "not supported" in refused
    made = [f"{folder}/{name}" for name in set(os.listdir(folder)) - before]
    assert len(made) == 1 and os.stat(made[0]).st_mode & 0o777 == 0o600
    good = open(made[0], "rb").read()
    allow_all = struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)
    for forged in (good[:-len(good) // 4] + allow_all, b"\0" * 8 + allow_all, good[:40], b""):
        with open(made[0], "wb") as f:
            f.write(forged)
        os.chmod(made[0], 0o666 if forged.startswith(good[:64]) else 0o600)
        assert bundle.run(oci, "mkdir", "/tmp/x", check=False).err == refused
    assert open(made[0], "rb").read() == good
    os.unlink(made[0])


def test_an_ordinary_user_has_containers_too(oci, bundle, tmp_path):
    os.chmod(tmp_path, 0o755)
    for folder in (os.path.dirname(str(tmp_path)), os.path.dirname(os.path.dirname(str(tmp_path)))):
        os.chmod(folder, 0o755)
    subprocess.run(["chown", "-R", "65534:65534", bundle.path], check=True)
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)

    def as_user(*args, **kw):
        return subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", OCI, *args],
                              cwd=bundle.path, env={"XDG_RUNTIME_DIR": str(home), "PATH": os.environ["PATH"]}, text=True,
                              stdin=subprocess.DEVNULL, timeout=60, **{"stderr": subprocess.PIPE, **kw})
    os.unlink(bundle.path + "/config.json")
    assert as_user("spec", "--rootless").returncode == 0
    config = json.load(open(bundle.path + "/config.json"))
    config["process"].update(terminal=False, args=["sh", "-c", "id -u; cat /proc/self/uid_map"])
    json.dump(config, open(bundle.path + "/config.json", "w"))
    done = as_user("run", "r", stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "0", "65534", "1"]
    config["process"]["args"] = ["sleep", "1000"]
    json.dump(config, open(bundle.path + "/config.json", "w"))
    assert as_user("run", "-d", "r", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    assert as_user("exec", "r", "id", "-u", stdout=subprocess.PIPE).stdout == "0\n"
    assert "no control group" in as_user("pause", "r").stderr
    assert as_user("delete", "--force", "r").returncode == 0


@pytest.mark.parametrize("point", range(4, 90, 6))
def test_a_create_killed_anywhere_leaves_what_the_next_one_clears(oci, bundle, point):
    """SIGKILL at the entry of the Nth changing call of create; the name can be used again at once."""
    bundle.write("sleep", "1000")
    calls = "openat,mkdir,mkdirat,write,rename,renameat,unlinkat,clone3,clone,sendmsg,execveat,socket,bind"
    subprocess.run(["strace", "-qq", "-o", "/dev/null", f"-einject={calls}:signal=KILL:when={point}", OCI, "--root",
                    oci.root, "create", "--bundle", bundle.path, "c"], stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    if oci.ids() and oci("state", "c").code == 0 and oci.state("c")["status"] == "created":
        oci("delete", "--force", "c", check=True)
    done = oci.background("create", "--bundle", bundle.path, "c")
    assert done.returncode == 0, done.stderr
    oci("start", "c", check=True)
    oci("delete", "--force", "c", check=True)
    assert oci.ids() == []


def test_a_start_takes_no_more_system_calls_than_it_did(oci, bundle, tmp_path):
    """All processes of one run, the workload's own included; docs/PERFORMANCE.md says what they are."""
    assert bundle.run(oci, "true", check=True).code == 0  # what is cached is
    counts = tmp_path / "counts"
    bundle.write("true")
    subprocess.run(["strace", "-f", "-c", "-o", counts, OCI, "--root", oci.root, "run", "--bundle", bundle.path, "c"],
                   check=True, stdin=subprocess.DEVNULL, timeout=60)
    calls = int(counts.read_text().splitlines()[-1].split()[3])
    assert calls <= 900, counts.read_text()
