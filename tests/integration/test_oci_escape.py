"""The published escapes of container runtimes, tried against proa-oci; docs/SECURITY.md has the table.

The engine's own command is tried in test_security.py; here the caller writes the bundle, so also the
configuration is an attacker's where that makes sense.
"""

import ctypes
import hashlib
import json
import os
import stat
import subprocess
import threading

import pytest

from cli import until
from oci_bundle import OCI, Bundle, Runtime

RENAME_EXCHANGE = 2


@pytest.fixture
def oci(tmp_path):
    runtime = Runtime(tmp_path)
    yield runtime
    runtime.clear()


@pytest.fixture
def bundle(tmp_path):
    return Bundle(tmp_path)


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def mountinfo():
    with open("/proc/self/mountinfo") as f:
        return sorted(line.split()[4] for line in f)


def refuse(oci, bundle, *command, words=""):
    """Fails with one line, and leaves nothing."""
    done = bundle.run(oci, *(command or ("true",)), check=False)
    assert len(done.err.strip().splitlines()) == 1 and words in done.err, done
    assert oci.ids() == []
    return done


def replace(bundle, path, target):
    """A symlink where the image had something else."""
    full = bundle.rootfs + path
    if os.path.isdir(full) and not os.path.islink(full):
        os.rmdir(full)
    elif os.path.lexists(full):
        os.unlink(full)
    os.symlink(target, full)


# --- the runtime's own program (CVE-2019-5736) ---

def test_the_runtime_cannot_be_overwritten_by_run(oci, bundle):
    before = digest(OCI)
    with open(bundle.rootfs + "/entry", "w") as f:
        f.write("#!/proc/self/exe\n")
    os.chmod(bundle.rootfs + "/entry", 0o755)
    replace(bundle, "/link", "/proc/self/exe")
    for command in (["/entry"], ["/link"], ["/link", "run", "x"]):
        bundle.run(oci, *command)
    done = bundle.run(oci, "sh", "-c", "for p in /proc/[0-9]*; do echo x 2>/dev/null >>$p/exe && echo written; done")
    assert "written" not in done.out
    assert digest(OCI) == before


def test_the_runtime_cannot_be_overwritten_by_exec(oci, bundle):
    before = digest(OCI)
    replace(bundle, "/link", "/proc/self/exe")
    name = bundle.start(oci, "sh", "-c", "while :; do for p in /proc/[0-9]*; do (echo x >>$p/exe) 2>/dev/null && "
                        "echo written; done; done")
    for _ in range(30):
        oci("exec", name, "/link", "--version")
        oci("exec", name, "true", check=True)
    assert "written" not in oci.output() and digest(OCI) == before


def test_the_program_of_init_cannot_be_opened_for_writing(oci, bundle):
    """A descriptor that was got while the program ran is opened again after its end, when "text file busy" protects no more."""
    before = digest(OCI)
    bundle.write("true")
    assert oci.background("create", "--bundle", bundle.path, "c").returncode == 0
    held = os.open(f"/proc/{oci.state('c')['pid']}/exe", os.O_PATH)
    for end in (lambda: None, lambda: oci("delete", "--force", "c", check=True)):
        end()
        with pytest.raises(OSError):
            os.close(os.open(f"/proc/self/fd/{held}", os.O_WRONLY))
    os.close(held)
    assert digest(OCI) == before


# --- descriptors and working directories (CVE-2024-21626, CVE-2016-9962) ---

def test_no_descriptor_of_the_caller_is_inherited(oci, bundle):
    secret = os.open("/etc/shadow", os.O_RDONLY)
    host = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(secret, True)
    os.set_inheritable(host, True)
    done = bundle.run(oci, "sh", "-c", "ls /proc/self/fd | wc -l; ls -l /proc/1/fd", close_fds=False, check=True)
    assert done.lines[0] == "4" and "shadow" not in done.out, done
    name = bundle.start(oci, "sleep", "1000")
    done = oci("exec", name, "sh", "-c", "ls /proc/self/fd | wc -l", close_fds=False, check=True)
    assert done.lines == ["4"]
    os.close(secret)
    os.close(host)


@pytest.mark.parametrize("number", [3, 5, 7, 8, 12, 20])
def test_a_working_directory_is_inside(oci, bundle, number):
    name = bundle.start(oci, "sleep", "1000")
    for path in (f"/proc/self/fd/{number}", f"/proc/self/fd/{number}/../../../../", f"/proc/1/fd/{number}"):
        bundle.config["process"]["cwd"] = path
        done = bundle.run(oci, "sh", "-c", "pwd; ls")
        assert done.code != 0 or "rootfs" not in done.out and "boot" not in done.out, done
        done = oci("exec", "--cwd", path, name, "sh", "-c", "pwd; ls")
        assert done.code != 0 or "boot" not in done.out, done


def test_a_process_that_joins_shows_nothing(oci, bundle):
    """A container that may trace looks at every new process, again and again."""
    for kind in ("bounding", "effective", "permitted"):
        bundle.config["process"]["capabilities"][kind].append("CAP_SYS_PTRACE")
    name = bundle.start(oci, "sh", "-c", "while :; do for p in /proc/[0-9]*; do ls -l $p/fd $p/cwd $p/root 2>/dev/null; done "
                        "| grep -vE '/dev/null|pipe:|/tmp/seen|/out|total|^/proc|^$| /$|-> /proc' >>/tmp/seen; done")
    for _ in range(60):
        oci("exec", name, "true", check=True)
    oci("kill", name, "KILL")
    with open(bundle.rootfs + "/tmp/seen") as f:
        seen = [line for line in f if "->" in line and not line.rstrip().endswith(("/out", "/err", "-> /"))]
    # The one socket is what it reports its own failure on; what comes from there is not believed (runtime/oci/exec.c).
    outside = [line for line in seen if "socket:" not in line and line.split("-> ")[1].strip() not in ("/", "pipe:")]
    assert not [line for line in outside if oci.folder in line or "/etc/" in line or "/run/" in line], outside[:5]


def test_no_directory_of_the_host_is_reached_through_a_process_that_joins(oci, bundle):
    """CVE-2016-9962: from any directory outside the root, enough ".." lead to the host's root, and to our folder below it."""
    for kind in ("bounding", "effective", "permitted"):
        bundle.config["process"]["capabilities"][kind].append("CAP_SYS_PTRACE")
    outside = "../" * 20 + oci.folder.lstrip("/")
    name = bundle.start(oci, "sh", "-c", "while :; do for f in /proc/[0-9]*/fd/* /proc/[0-9]*/cwd /proc/[0-9]*/root; do "
                        f"[ -e $f/{outside} ] && echo $f; done >>/tmp/reached; done")
    for _ in range(100):
        oci("exec", name, "true", check=True)
    with open(bundle.rootfs + "/tmp/reached") as f:
        assert f.read() == ""
    # The loop would have seen it: here a directory of the host is given on purpose.
    done = subprocess.run(["sh", "-c", 'exec 3</; exec "$@"', "sh", OCI, "--root", oci.root, "exec", "--preserve-fds", "1", name,
                           "sh", "-c", "until [ -s /tmp/reached ]; do :; done"], stdin=subprocess.DEVNULL, timeout=30)
    assert done.returncode == 0


# --- /proc, /sys, /dev of the image (CVE-2019-16884, 2019-19921, 2023-27561, 2026-41579) ---

@pytest.mark.parametrize("place", ["/proc", "/sys", "/dev"])
@pytest.mark.parametrize("target", ["/tmp", "../../canary", "/bin"])
def test_a_link_in_place_of_a_system_directory(oci, bundle, tmp_path, place, target):
    canary = tmp_path / "canary"
    canary.mkdir()
    before = mountinfo()
    replace(bundle, place, target)
    refuse(oci, bundle, words="symlink")
    assert os.listdir(canary) == [] and mountinfo() == before


def test_proc_cannot_be_covered(oci, bundle, tmp_path):
    for destination in ("/proc", "/proc/self", "/proc/sys/kernel"):
        bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m.get("source") != str(tmp_path)]
        bundle.config["mounts"].append({"destination": destination, "type": "bind", "source": str(tmp_path),
                                        "options": ["bind"]})
        refuse(oci, bundle, words="/proc cannot be covered")
    bundle.config["mounts"][-1] = {"destination": "/proc/self", "type": "tmpfs", "source": "tmpfs"}
    refuse(oci, bundle, words="/proc cannot be covered")


def test_masks_are_not_what_the_image_has(oci, bundle, tmp_path):
    """CVE-2025-31133: /dev/null of the image leads to something that must not be written."""
    canary = tmp_path / "canary"
    canary.write_text("untouched")
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] != "/dev"
                               and not m["destination"].startswith("/dev/")]
    replace(bundle, "/dev/null", "/proc/sys/kernel/core_pattern")
    pattern = open("/proc/sys/kernel/core_pattern").read()
    done = bundle.run(oci, "sh", "-c", "cat /proc/kcore | wc -c; cat /proc/timer_list | wc -c; echo x >/dev/null", check=True)
    assert done.lines == ["0", "0"]
    assert open("/proc/sys/kernel/core_pattern").read() == pattern and canary.read_text() == "untouched"


def test_the_console_is_not_what_the_image_has(oci, bundle, tmp_path):
    """CVE-2025-52565."""
    canary = tmp_path / "canary"
    canary.write_text("untouched")
    bundle.config["process"]["terminal"] = True
    os.makedirs(bundle.rootfs + "/dev/pts")
    replace(bundle, "/dev/pts/0", str(canary))
    replace(bundle, "/dev/console", str(canary))
    bundle.write("sh", "-c", "stat -c %F /dev/console; echo written >/dev/console")
    subprocess.run(["script", "-qec", f"{OCI} --root {oci.root} run --bundle {bundle.path} c", "/dev/null"], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60)
    assert canary.read_text() == "untouched"


# --- races (CVE-2021-30465, 2024-45310, 2025-52881) ---

def exchange_forever(a, b, stop):
    libc = ctypes.CDLL(None, use_errno=True)
    while not stop.is_set():
        for _ in range(200):
            libc.renameat2(-100, a.encode(), -100, b.encode(), RENAME_EXCHANGE)


def test_mount_targets_that_are_swapped_while_they_are_used(oci, bundle, tmp_path):
    canary = tmp_path / "canary"
    canary.mkdir()
    volume = tmp_path / "volume"
    (volume / "dir").mkdir(parents=True)
    os.symlink("/" + "../" * 12 + str(canary).lstrip("/"), volume / "link")
    bundle.config["mounts"] += [
        {"destination": "/volume", "type": "bind", "source": str(volume), "options": ["rbind"]},
        {"destination": "/volume/dir/target", "type": "tmpfs", "source": "tmpfs", "options": ["mode=777"]},
        {"destination": "/volume/dir/file", "type": "bind", "source": "/etc/hostname", "options": ["bind"]},
    ]
    bundle.run(oci, "sh", "-c", "touch /volume/dir/target/x && cat /volume/dir/file", check=True)
    (volume / "dir/target").rmdir()
    (volume / "dir/file").unlink()
    before, stop = mountinfo(), threading.Event()
    racer = threading.Thread(target=exchange_forever, args=(str(volume / "dir"), str(volume / "link"), stop))
    racer.start()
    try:
        for _ in range(120):
            bundle.run(oci, "true")
    finally:
        stop.set()
        racer.join()
    assert os.listdir(canary) == [] and mountinfo() == before


# --- words that are parsed ---

@pytest.mark.parametrize("user", ["-1", "+1", " 1", "1 ", "1e3", "0x0", "4294967295", "4294967296", "1000:-1", "1000:4294967296",
                                  ":0", "no such"])
def test_users_that_are_no_users(oci, bundle, user):
    name = bundle.start(oci, "sleep", "1000")
    done = oci("exec", f"--user={user}", name, "id", "-u", check=False)
    assert done.out == "" and len(done.err.strip().splitlines()) == 1, done


@pytest.mark.parametrize("user, ids", [("1000", ["1000", "0"]), ("01", ["1", "0"]), ("1000:7", ["1000", "7"]), ("0:5", ["0", "5"])])
def test_users_that_are_users(oci, bundle, user, ids):
    name = bundle.start(oci, "sleep", "1000")
    assert oci("exec", "--user", user, name, "sh", "-c", "id -u; id -g", check=True).lines == ids


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "a" * 1025, "a b", "a\nb", "ä"])
def test_names_that_are_no_names(oci, bundle, name):
    bundle.write("true")
    for verb in ("create", "run", "state", "delete", "kill", "start"):
        options = ["--bundle", bundle.path] if verb in ("create", "run") else []
        assert "invalid container ID" in oci(verb, *options, "--", name, check=False).err
    assert not os.path.exists(os.path.dirname(oci.root) + "/x")


@pytest.mark.parametrize("path", ["../../x", "/a/../../b", "/..", "a/./b", "/a\nb"])
def test_control_groups_stay_below_their_root(oci, bundle, path):
    bundle.config["linux"]["cgroupsPath"] = path
    refuse(oci, bundle, words="control group")


@pytest.mark.parametrize("name, value", [("kernel.core_pattern", "|/x"), ("kernel.shm_rmid_forced", "1\nkernel.core_pattern=|/x"),
                                         ("kernel.shm_rmid_forced", "1+kernel.core_pattern=|/x"), ("net/../kernel/core_pattern", "x"),
                                         ("net...kernel.core_pattern", "x"), ("vm.overcommit_memory", "1")])
def test_sysctls_are_the_containers_own(oci, bundle, name, value):
    """CVE-2022-0811."""
    before = open("/proc/sys/kernel/core_pattern").read()
    bundle.config["linux"]["sysctl"] = {name: value}
    refuse(oci, bundle, words="sysctl")
    assert open("/proc/sys/kernel/core_pattern").read() == before


@pytest.mark.parametrize("change", ["duplicate", "deep", "type", "huge map", "huge path", "huge array"])
def test_configurations_of_an_attacker(oci, bundle, change):
    bundle.write("true")
    with open(bundle.path + "/config.json") as f:
        text = f.read()
    linux = bundle.config["linux"]
    if change == "duplicate":
        text = text.replace('"ociVersion"', '"root": {"path": "/"}, "ociVersion"', 1)
    elif change == "deep":
        text = '{"a":' * 20000 + "1" + "}" * 20000
    elif change == "type":
        text = text.replace('"namespaces": [', '"namespaces": [7, ', 1)
    elif change == "huge map":
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"] = linux["gidMappings"] = [{"containerID": i, "hostID": i, "size": 1} for i in range(9000)]
    elif change == "huge path":
        linux["namespaces"][0]["path"] = "/proc/" + "x" * 70000
    else:
        bundle.config["process"]["env"] = ["A=b"] * 5000
    if text.startswith("{") and change in ("huge map", "huge path", "huge array"):
        text = json.dumps(bundle.config)
    with open(bundle.path + "/config.json", "w") as f:
        f.write(text)
    done = oci("run", "--bundle", bundle.path, "c", check=False)
    assert len(done.err.strip().splitlines()) == 1 and len(done.err) < 1000, done
    assert oci.ids() == []


def test_namespaces_that_an_attacker_made(oci, bundle, tmp_path):
    fifo, plain, link = tmp_path / "fifo", tmp_path / "plain", tmp_path / "link"
    os.mkfifo(fifo)
    plain.write_text("x")
    os.symlink(fifo, link)
    network = [n for n in bundle.config["linux"]["namespaces"] if n["type"] == "network"][0]
    for path in (fifo, plain, link, "/proc/self/ns/pid", tmp_path):
        network["path"] = str(path)
        refuse(oci, bundle, words="namespace")


# --- what a container has ---

def test_no_capability_is_inheritable(oci, bundle):
    """CVE-2022-29162."""
    name = bundle.start(oci, "sleep", "1000")
    for done in (bundle.run(oci, "grep", "CapInh", "/proc/self/status"), oci("exec", name, "grep", "CapInh", "/proc/self/status")):
        assert int(done.out.split()[1], 16) == 0


@pytest.mark.parametrize("own", [True, False])
def test_control_groups_of_the_host_are_not_writable(oci, bundle, own):
    """CVE-2023-25809, and release_agent (CVE-2022-0492): with and without a namespace of its own."""
    if not own:
        bundle.config["linux"]["namespaces"] = [n for n in bundle.config["linux"]["namespaces"] if n["type"] != "cgroup"]
    done = bundle.run(oci, "sh", "-c", "find() { for f in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/release_agent; do "
                      "[ -e $f ] && echo $f; done; }; find; mkdir /sys/fs/cgroup/memory/x && echo made; "
                      "echo 1 >/sys/fs/cgroup/unified/cgroup.procs && echo moved; ls /sys/fs/cgroup/memory | grep -c proa")
    assert "made" not in done.out and "moved" not in done.out and "release_agent" not in done.out, done


def test_state_is_private_and_no_socket_is_abstract(oci, bundle):
    bundle.write("true")
    oci.background("create", "--bundle", bundle.path, "c")
    assert stat.S_IMODE(os.stat(oci.root).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(oci.root + "/c").st_mode) == 0o700
    assert stat.S_IMODE(os.stat(oci.root + "/c/init.sock").st_mode) == 0o600
    with open("/proc/net/unix") as f:
        assert not [line for line in f if "@" in line and "proa" in line]


def test_exec_into_a_hostile_container(oci, bundle):
    """/etc/passwd is a FIFO, or endless; the terminal's file system is something else."""
    name = bundle.start(oci, "sleep", "1000")
    os.mkfifo(bundle.rootfs + "/etc/passwd")
    assert "etc/passwd" in oci("exec", "--user", "root", name, "true", check=False, timeout=20).err
    os.unlink(bundle.rootfs + "/etc/passwd")
    os.symlink("/dev/zero", bundle.rootfs + "/etc/passwd")
    assert "etc/passwd" in oci("exec", "--user", "root", name, "true", check=False, timeout=20).err
    oci("exec", name, "true", check=True)
    assert oci("state", name).code == 0
    until(lambda: oci.state(name)["status"] == "running")
