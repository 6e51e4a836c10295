"""Machines that boot a disk: both firmwares, consoles, disks, the life of an instance, systems that are no Debian and no
Linux. Each boot serves many checks: under emulation one takes seconds."""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

import tpm
from cli import BUILD, inspect, proa, refuse, state, until
from parity_rows import Place
from sandbox import TOP
from test_crash import pids_of
from test_machines import Terminal

sys.path.insert(0, os.path.join(TOP, "tests/machine"))
import disk  # noqa: E402

pytestmark = pytest.mark.vm
MIB = 1 << 20
PICTURES = os.path.join(BUILD, "tests/pictures")


@pytest.fixture(scope="module")
def tiny():
    """The small Linux, as an image of the store."""
    path = disk.path_of("tiny")
    proa("import", path, "tiny:1", timeout=60)
    yield path
    proa("rmi", "-f", "tiny:1")


def as_file(tiny, folder, form):
    """The small Linux in a file of another format. It is the same image to the store."""
    path = folder / f"tiny.{form}"
    subprocess.run(["qemu-img", "convert", "-O", form, tiny, path], check=True)
    return path


class Serial(Terminal):
    """A machine's serial console, with somebody who can log in."""

    def login(self, timeout=90):
        self.expect("tiny login:", timeout)
        self.type("root\n")
        self.expect("# ")

    def run(self, command):
        """The lines that a command prints, between marks that the echo of the command does not have."""
        self.seen = ""
        self.type(f"echo be''gin; {command}; echo e''nd\n")
        self.expect("end\r\n")
        return self.seen.split("begin\r\n", 1)[1].split("end\r\n")[0].split("\r\n")[:-1]

    def leave(self):
        """The machine goes on without us."""
        if self.process.poll() is None:
            self.type("\x10\x11")
            assert self.end() == 0


def qemu_of(ident):
    """The pid and arguments of the QEMU of a machine: its uuid is the instance's id."""
    for pid in pids_of("qemu-system-x86_64"):
        arguments = open(f"/proc/{pid}/cmdline").read().split("\0")
        if ident[:8] in " ".join(arguments):
            return pid, arguments
    raise AssertionError("no QEMU runs")


def test_the_life_of_a_machine(tiny, name, tmp_path):
    """BIOS, serial console, disks, what has no agent, reboot, pause, power button, another start, a kill."""
    own = tmp_path / "own.raw"
    own.write_bytes(b"here".ljust(MIB, b"\0"))
    t = Serial("run", "-it", "--name", name, "--disk-size", "64m", "-m", "192m", "--disk", "size=20m", "--disk",
               f"{own},readonly", "--disk", "tiny:1,size=40m,bus=scsi", "--boot", "disk,network", "--max-memory", "512m",
               "--max-cpus", "3", "--cpuset-cpus", "0", "tiny:1")
    t.login()
    assert t.run("cat /sys/block/vd[abc]/size /sys/block/sda/size") == ["131072", "40960", "2048", "81920"]
    assert t.run("head -c 4 /dev/vdc; echo; cat /sys/block/vdc/ro") == ["here", "1"]
    assert t.run("ls -d /sys/firmware/efi 2>/dev/null; ls /dev/vport*") == ["/dev/vport0p1"], "BIOS, and the agent's port"
    assert t.run("ip link show eth0 | grep -c " + inspect(name)["NetworkSettings"]["MacAddress"]) == ["1"]
    # Nothing has told it its address: it asks.
    t.run(r"printf '#!/bin/sh\n[ $1 = bound ] && echo got $ip/$mask $router $dns $hostname $mtu\n' >/tmp/say; chmod 755 /tmp/say; ip link set eth0 up")
    settings = inspect(name)["NetworkSettings"]
    assert t.run("udhcpc -i eth0 -n -q -f -s /tmp/say 2>/dev/null | grep got") == [
        f"got {settings['IPAddress']}/{settings['IPPrefixLen']} {settings['Gateway']} {settings['Gateway']} {name} 1500"]
    t.run("echo kept | dd of=/dev/vda bs=1M seek=50 conv=notrunc; echo two >/dev/vdb; sync")
    ident = inspect(name)["Id"]
    for words in (["exec", name, "ls"], ["cp", f"{name}:/etc/issue", "-"], ["top", name]):
        refuse(*words, say="QEMU guest agent", rc=None)
    for words in (["commit", name, "x:1"], ["diff", name], ["export", name]):
        refuse(*words, say="boots a disk", rc=None)
    machine = inspect(name)["Machine"]
    assert machine["Firmware"] == "bios" and machine["DiskSize"] == 64 * MIB and machine["Disks"][1].startswith(f"{own},readonly")
    refuse("kill", "-s", "USR1", name, say="power button", rc=None)
    refuse("console", "--vnc", name, say="--graphics vnc", rc=None)
    refuse("rmi", "tiny:1", say="used by", rc=None)
    pid, arguments = qemu_of(ident)
    assert not [a for a in arguments if "/var/lib" in a or "/run/" in a or str(tmp_path) in a], "descriptors only"
    assert not [a for a in arguments if re.search("usb|VGA|floppy|ide-|e1000", a)], "a short list of devices"
    assert os.sched_getaffinity(int(pid)) == {0}
    proa("pause", name)
    assert state(name) == "paused"
    proa("unpause", name)
    t.seen = ""
    t.type("reboot -f\n")
    t.login()
    assert state(name) == "running" and inspect(name)["State"]["ExitCode"] == 0
    proa("stop", name, timeout=60)
    assert t.end() == 0 and state(name) == "exited" and inspect(name)["State"]["ExitCode"] == 0
    assert "power button" in proa("logs", name).out
    proa("start", name)
    t = Serial("console", name)
    t.type("\n")
    t.login()
    assert t.run("dd if=/dev/vda bs=1M skip=50 count=1 2>/dev/null | head -c 4; echo; head -c 3 /dev/vdb; echo") == ["kept", "two"]
    t.leave()
    assert state(name) == "running"
    proa("kill", name)
    assert inspect(name)["State"]["ExitCode"] == 137
    proa("rm", name)
    assert own.read_bytes().startswith(b"here")


def test_uefi_a_screen_and_a_tpm(tiny, name, tmp_path):
    """The same by UEFI, from the path of a qcow2, without importing it by hand; what the machine has of firmware."""
    proa("run", "-d", "--name", name, "--network", "none", "--firmware", "uefi", "--tpm", "--graphics", "vnc", "-m", "256m",
         as_file(tiny, tmp_path, "qcow2"), timeout=60)
    t = Serial("console", name)
    t.login()
    assert t.run("ls -d /sys/firmware/efi; dmesg | grep -c 'ACPI: TPM2'") == ["/sys/firmware/efi", "1"]

    def ask(request):
        return tpm.answer(request, " ".join(t.run(f"({tpm.script(request)})")))
    empty = ask(tpm.READ)
    assert ask(tpm.EXTEND) == [0, 0] and ask(tpm.READ) != empty
    assert ask(tpm.OWN) == [0, 0] and ask(tpm.OWN) == tpm.AUTH_FAILS, "it keeps its state"
    t.leave()
    with Viewer(name) as v:
        assert v.width >= 640 and v.height >= 400
    the_tpm_is_confined()
    shoot(name, "uefi")
    bundle = f"/var/lib/proa/instances/{inspect(name)['Id']}"
    assert os.path.exists(f"{bundle}/firmware.vars") and os.listdir(f"{bundle}/tpm")
    proa("stop", name, timeout=60)
    until(lambda: not list(pids_of("swtpm")))
    proa("start", name)
    monitor = inspect(name)["State"]["Pid"]
    os.kill(monitor, signal.SIGKILL)
    until(lambda: state(name) == "exited" and not list(pids_of("swtpm")) and not list(pids_of("qemu-system-x86_64")))
    proa("rm", name)
    proa("image", "prune", "-f")


def the_tpm_is_confined():
    pid, = pids_of("swtpm")
    with open(f"/proc/{pid}/status") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    assert all(int(number) >= 0x70000000 for number in status["Uid"].split() + status["Gid"].split()), status
    assert all(int(status[c], 16) == 0 for c in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")), status
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2" and status["Groups"].strip() == "", status
    assert int(status["Seccomp_filters"]) >= 2, "ours, and its own"
    assert status["NSpid"].split()[-1] == "1", "nobody else is in its namespace"
    for space in ("mnt", "net", "ipc", "uts", "pid", "cgroup"):
        assert os.readlink(f"/proc/{pid}/ns/{space}") != os.readlink(f"/proc/self/ns/{space}"), space
    with open(f"/proc/{pid}/limits") as f:
        limits = {line[:26].strip(): line[26:].split()[:2] for line in f}
    assert limits["Max open files"] == ["32", "32"] and limits["Max file size"] == [str(4 * MIB)] * 2
    assert limits["Max address space"] == [str(256 * MIB)] * 2 and limits["Max core file size"] == ["0", "0"]


def test_secure_boot_starts_only_what_is_signed(tiny, name):
    """The small disk's loader is signed by nobody."""
    proa("run", "-d", "--name", name, "--network", "none", "--secure-boot", "-m", "256m", "tiny:1", timeout=60)
    until(lambda: "Access Denied" in proa("logs", name).out, timeout=60)
    proa("rm", "-f", name)


class Viewer:
    """As much of VNC as types keys."""

    def __init__(self, name):
        path = proa("console", "--vnc", name).out.strip()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        assert self.take(12) == b"RFB 003.008\n"
        self.socket.sendall(b"RFB 003.008\n")
        kinds = self.take(self.take(1)[0])
        assert 1 in kinds, "no password: the socket is root's"
        self.socket.sendall(b"\1")
        assert self.take(4) == b"\0\0\0\0"
        self.socket.sendall(b"\1")
        self.width, self.height = struct.unpack(">HH", self.take(4))
        self.take(16)
        self.take(struct.unpack(">I", self.take(4))[0])

    def take(self, n):
        data = b""
        while len(data) < n:
            data += self.socket.recv(n - len(data)) or pytest.fail("the viewer was cut off")
        return data

    def type(self, text):
        for key in text.encode():
            for down in (1, 0):
                self.socket.sendall(struct.pack(">BBHI", 4, down, 0, 0xff0d if key == 10 else key))
                time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def shoot(name, title):
    """A picture of the screen, kept in the build's folder for whoever wants to see it."""
    os.makedirs(PICTURES, exist_ok=True)
    path = os.path.join(PICTURES, title + ".png")
    proa("console", "--screenshot", path, name)
    with open(path, "rb") as f:
        data = f.read()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    return data


def test_a_system_that_is_no_linux(name):
    """GNU Mach gets as far as its debugger's prompt, which answers, on the serial console."""
    t = Terminal("run", "-it", "--rm", "--name", name, "--network", "none", "--os", "other", "--disk-bus", "sata", "-m", "64m",
                 disk.path_of("mach"))
    t.expect("GNU Mach", 60)
    t.expect("db> ", 60)
    t.type("show all threads\r")
    t.expect("gnumach")
    t.expect("8 threads")
    proa("kill", name)
    assert t.end() == 137
    until(lambda: name not in proa("ps", "-a").out)
    proa("image", "prune", "-f")


def test_the_screen_of_a_system_that_is_no_linux(name):
    """The same on the screen: what a viewer types changes the picture."""
    proa("run", "-d", "--name", name, "--network", "none", "--os", "other", "--disk-bus", "sata", "-m", "64m", "--graphics",
         "vnc", disk.path_of("mach-screen"), timeout=60)

    def still():
        """The pictures, when a full screen only has a cursor that blinks."""
        seen = set()
        for _ in range(8):
            seen.add(shoot(name, "mach"))
            time.sleep(0.2)
        return seen if len(seen) <= 2 and min(map(len, seen)) > 8000 else None
    before = until(still, timeout=60)
    with Viewer(name) as v:
        v.type("show all threads\n")
        until(lambda: shoot(name, "mach-answers") not in before)
    until(still)
    proa("rm", "-f", name)
    proa("image", "prune", "-f")


def test_a_disk_of_two_packs_boots(tiny, name, tmp_path):
    """A second version shares the first one's pack; QEMU reads both through their maps."""
    version = tmp_path / "v2.raw"
    with open(tiny, "rb") as f:
        data = bytearray(f.read())
    data += b"\0" * (-len(data) % (4 * MIB))
    data += b"second".ljust(4 * MIB, b"\0")
    version.write_bytes(data)
    proa("import", version, "tiny:2", timeout=60)
    t = Serial("run", "-it", "--name", name, "--network", "none", "-m", "192m", "tiny:2")
    t.login()
    assert t.run(f"dd if=/dev/vda bs=4M skip={len(data) // (4 * MIB) - 1} count=1 2>/dev/null | head -c 6; echo") == ["second"]
    maps = [n for n in os.listdir(f"/var/lib/proa/instances/{inspect(name)['Id']}") if ".map" in n]
    assert len(maps) == 2
    pid, _ = qemu_of(inspect(name)["Id"])
    os.kill(int(pid), signal.SIGKILL)
    t.end()
    until(lambda: state(name) == "exited")
    assert inspect(name)["State"]["ExitCode"] != 0, "a QEMU that was killed did not switch its machine off"
    proa("rm", name)
    proa("rmi", "tiny:2")


REFUSED = [
    (["tiny:1", "ls"], "boots the system"), (["-e", "A=b", "tiny:1"], "--env"), (["-v", "x:/y", "tiny:1"], "--volume"),
    (["--privileged", "tiny:1"], "--privileged"), (["--network", "host", "tiny:1"], "network"),
    (["--disk-size", "1m", "tiny:1"], "only grow"), (["--disk-size", "100000001", "tiny:1"], "512"),
    (["--firmware", "coreboot", "tiny:1"], "bios,uefi"), (["--secure-boot", "--firmware", "bios", "tiny:1"], "uefi"),
    (["--disk", "readonly", "tiny:1"], "needs a size"), (["--disk", "size=1g,bus=usb", "tiny:1"], "bus=usb"),
    (["--disk", "/nowhere", "tiny:1"], "/nowhere"), (["--disk", "busybox", "tiny:1"], "disk image"),
    (["--disk", "/etc,readonly", "tiny:1"], "/etc"), (["--cdrom", "/nowhere", "tiny:1"], "/nowhere"),
    (["--boot", "cdrom", "tiny:1"], "--cdrom"), (["--boot", "disk,disk", "tiny:1"], "twice"),
    (["--boot", "floppy", "tiny:1"], "disk,cdrom,network"), (["--max-cpus", "1", "--cpus", "2", "tiny:1"], "--max-cpus"),
    (["--max-memory", "1m", "tiny:1"], "--max-memory"), (["--cpu", "a b", "tiny:1"], "--cpu"),
    (["--usb", "1234:5678", "tiny:1"], "--usb"), (["--pci", "00:02.0", "tiny:1"], "--pci"), (["--os", "dos", "tiny:1"], "windows"),
    (["--dns", "nobody", "tiny:1"], "an address"), (["--dns", "10.1.2.3", "--network", "none", "tiny:1"], "need a network"),
    (["--dns-search", "a b", "tiny:1"], "a domain"), (["--add-host", "db:nobody", "tiny:1"], "NAME:ADDRESS"),
    (["--dns", "10.1.2.3", "--cloud-init=false", "tiny:1"], "something to tell it"),
    (["--dns", "10.1.2.3", "--network-config", __file__, "tiny:1"], "--network-config"),
    (["--tpm", "busybox"], "disk image"), (["--cdrom", "/etc/passwd", "busybox"], "disk image"), (["/etc/passwd"], "disk image"),
    (["/nowhere.qcow2"], "/nowhere"),
]


@pytest.mark.parametrize("flags, say", REFUSED, ids=[" ".join(f) for f, _ in REFUSED])
def test_what_makes_no_sense_is_refused(tiny, name, flags, say):
    refuse("create", "--name", name, *flags, say=say)
    assert name not in proa("ps", "-a").out


def test_a_block_device_of_the_host(tiny, name, tmp_path):
    """What is a disk on the host already needs no bus to be given: docs/MACHINES.md."""
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (tmp_path / "stick").write_bytes(b"here".ljust(MIB, b"\0"))
    device = subprocess.run(["losetup", "--find", "--show", tmp_path / "stick"], text=True, capture_output=True).stdout.strip()
    if not device:
        pytest.skip("no loop devices here")
    try:
        t = Serial("run", "-it", "--rm", "--name", name, "--network", "none", "-m", "192m", "--disk", device,
                   as_file(tiny, tmp_path, "vmdk"))
        t.login()
        assert t.run("head -c 4 /dev/vdb; echo; cat /sys/block/vdb/size") == ["here", "2048"]
        t.run("printf gone | dd of=/dev/vdb conv=notrunc,fsync")
        proa("kill", name)
        t.end()
        assert (tmp_path / "stick").read_bytes().startswith(b"gone")
        # What the host has mounted is nobody's to write to.
        subprocess.run(["mkfs.ext4", "-q", device], check=True)
        subprocess.run(["mount", device, mounted], check=True)
        try:
            refuse("run", "-d", "--name", name, "--network", "none", "--disk", device, "tiny:1", say=["in use", device], rc=None)
        finally:
            subprocess.run(["umount", mounted], check=True)
    finally:
        proa("rm", "-f", name, check=False)
        subprocess.run(["losetup", "-d", device], check=True)


def test_room_to_grow(tiny, name, tmp_path):
    """`update` plugs processors and memory in while it runs, as far as there was room made for them."""
    t = Serial("run", "-it", "--name", name, "--network", "none", "-m", "256m", "--max-memory", "768m", "--max-cpus", "2",
               as_file(tiny, tmp_path, "vhdx"))
    t.login()
    processors = "ls -d /sys/devices/system/cpu/cpu[0-9] | wc -l"
    memory = "ls -d /sys/devices/system/memory/memory[0-9]* | wc -l"

    def refused(say, *words):
        refuse("update", *words, name, rc=1, say=say)
    assert t.run(f"{processors}; {memory}") == ["1", "2"]
    proa("update", "-m", "512m", name)
    proa("update", "--cpus", "2", "--memory", "640m", name)
    until(lambda: t.run(f"{processors}; {memory}") == ["2", "5"], timeout=30)
    assert t.run("echo 1 >/sys/devices/system/cpu/cpu1/online; cat /sys/devices/system/cpu/cpu1/online") == ["1"]
    pid, _ = qemu_of(inspect(name)["Id"])
    assert not re.search(r"^VmFlags:.* mg\b", open(f"/proc/{pid}/smaps").read(), re.M), "KSM may merge nothing of it"
    refused("--max-memory", "-m", "1g")
    refused("128 MiB", "-m", "700m")
    refused("stop it first", "-m", "256m")
    refused("stop it first", "--cpuset-cpus", "0")
    # Fewer are a part of the time of those that there are, and as many as there are need no room.
    for cpus, quota in (("0.5", "50000"), ("1", "100000"), ("2", "200000")):
        proa("update", "--cpus", cpus, name)
        assert Place("disk", name).host_limit("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == quota
    assert t.run(processors) == ["2"]
    limits = inspect(name)["HostConfig"]
    assert limits["Memory"] == 640 * MIB and limits["NanoCpus"] == 2 * 10**9
    # Its memory goes on in a machine that has the same plugged in, and takes more.
    t.run("echo kept >/tmp/kept; echo online >/sys/devices/system/memory/memory2/state")
    proa("snapshot", "create", "--memory", "--name", name, name, timeout=60)
    proa("snapshot", "restore", "--force", name, name, timeout=60)
    t.end()
    t = Serial("console", name)
    t.type("\n")
    t.expect("# ")
    assert t.run(f"cat /tmp/kept; nproc; {memory}") == ["kept", "2", "5"]
    proa("update", "-m", "768m", name)
    until(lambda: t.run(memory) == ["6"], timeout=30)
    proa("snapshot", "rm", name)
    t.seen = ""
    t.type("reboot -f\n")
    t.login()
    time.sleep(1)  # the shell has asked its terminal where it is, and takes what comes for the answer
    assert t.run("nproc") == ["2"], "what was plugged in stays for another boot"
    proa("restart", "-t", "0", name, timeout=60)
    t.end()
    t = Serial("console", name)
    t.type("\n")
    t.login()
    assert t.run(f"nproc; {memory}") == ["2", "6"], "and for another start"
    proa("rm", "-f", name)
    t.end()


def test_without_room_to_grow(tiny, name):
    proa("run", "-d", "--name", name, "--network", "none", "-m", "64m", "tiny:1", timeout=60)
    refuse("update", "--cpus", "2", name, rc=1, say=["room for 1 ", "--max-cpus", "stop it first"])
    refuse("update", "--memory", "128m", name, rc=1, say=["room for 64 MiB", "--max-memory"])
    assert inspect(name)["HostConfig"]["Memory"] == 64 * MIB
    proa("update", "--restart", "on-failure", name)
    proa("rm", "-f", name)


def test_an_installer(tiny, name, tmp_path):
    """An empty disk boots nothing, so the CD-ROM does; the next start finds what is on the disk by then."""
    with open(tmp_path / "empty.raw", "wb") as f:
        f.truncate(40 * MIB)
    proa("import", "--disk", tmp_path / "empty.raw", "empty:1")
    t = Serial("run", "-it", "--name", name, "--network", "none", "-m", "192m", "--cdrom", tiny, "empty:1")
    t.login()
    assert t.run("head -c 512 /dev/vda | tr -d '\\000' | head -c 1; cat /sys/block/vda/size") == [str(40 * MIB // 512)]
    t.run("printf 'A\\363\\220' | dd of=/dev/vda conv=notrunc; printf '\\125\\252' | dd of=/dev/vda bs=1 seek=510 conv=notrunc; sync")
    t.type("poweroff -f\n")
    assert t.end() == 0
    proa("start", name)
    until(lambda: "Booting from Hard Disk" in proa("logs", name).out.rsplit("SeaBIOS", 1)[1])
    proa("rm", "-f", name)
    proa("rmi", "empty:1")


@pytest.mark.parametrize("order, first", [("disk,cdrom", "Hard Disk"), ("cdrom,disk", "DVD/CD"), ("network,disk", "ROM")])
def test_the_order_of_booting(tiny, name, tmp_path, order, first):
    """There is something to start on all of them."""
    loop = b"\xeb\xfe".ljust(510, b"\0") + b"\x55\xaa"
    (tmp_path / "loop.raw").write_bytes(loop.ljust(MIB, b"\0"))
    proa("run", "-d", "--name", name, "-m", "64m", "--cdrom", tiny, "--boot", order, tmp_path / "loop.raw", timeout=60)
    said = until(lambda: re.search(r"Booting from ([\w/ ]+)", proa("logs", name).out), timeout=60)
    assert said[1].startswith(first)
    proa("rm", "-f", name)
    proa("image", "prune", "-f")


def test_a_qcow2_that_names_another_file_is_no_disk(tiny, name, tmp_path):
    """--disk believes no more of a file than import does."""
    (tmp_path / "below").write_bytes(b"\0" * MIB)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", tmp_path / "below", "-F", "raw", tmp_path / "x.qcow2"],
                   check=True)
    refuse("create", "--name", name, "--disk", tmp_path / "x.qcow2", "tiny:1", say="backing")


def test_firmware_is_chosen(tiny, name, tmp_path):
    """A disk that no BIOS could start is started by UEFI, unless it is said otherwise."""
    with open(tiny, "rb") as f:
        data = f.read()
    (tmp_path / "uefi.raw").write_bytes(b"\0" * 446 + data[446:])
    proa("import", tmp_path / "uefi.raw", "no-bios:1", timeout=60)
    for flags, firmware in ([], "uefi"), (["--firmware", "bios"], "bios"):
        proa("create", "--name", name, "--network", "none", *flags, "no-bios:1")
        assert inspect(name)["Machine"]["Firmware"] == firmware
        proa("rm", name)
    proa("rmi", "no-bios:1")


def test_what_windows_needs(tiny, name):
    """No Windows can be had here: what it is given is."""
    proa("run", "-d", "--name", name, "--network", "none", "--os", "windows", "-m", "128m", "tiny:1", timeout=60)
    _, arguments = qemu_of(inspect(name)["Id"])
    text = " ".join(arguments)
    assert "base=localtime" in text and "ide-hd" in text and "sata=on" in text and "-cx16" not in text
    proa("rm", "-f", name)
