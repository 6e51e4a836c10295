#!/usr/bin/python3
"""A Debian guest with systemd as process 1 and control groups v2, in which one command is run as root.

    tests/guest/machine.py [--build DIR] [--seconds N] COMMAND [ARG...]

The guest is QEMU's microvm: Debian's cloud kernel as proa-kernel unpacks it, an initramfs made here
(busybox, `init`, the modules that the disks need), the EROFS root of `image` with a tmpfs over it, and
a second EROFS disk, at /opt/proa in the guest, with the programs of the build directory and, in
/opt/proa/guest, the files of this folder. Nothing of it is written to, so machines can run beside
each other; a third disk, of this machine alone, is for what tests write.

The console goes to one channel, the command's output to a port and its status to another: a status
that came is the command's own, and a machine that ended without one has failed. QEMU dies with the
process that started it (PDEATHSIG), when the status has come, and when the time is over.
"""

import argparse
import glob
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
PROGRAMS = ["proa", "proa-oci", "proa-peers", "proa-monitor", "proa-exec", "proa-layer", "proa-seccomp", "proa-scope",
            "tests/container_probe", "tests/container.bpf", "tests/guest/deny"]
SCRATCH_MB = 2048
MODULES = ["virtio_ring", "virtio", "virtio_mmio", "virtio_console", "virtio_blk", "libcrc32c", "erofs", "overlay"]
# As quiet and as short as it goes; src/runtime/vm/qemu.c says why of the kernel's.
OPTIONS = ("console=ttyS0 quiet loglevel=3 panic=-1 oops=panic cryptomgr.notests random.trust_cpu=on 8250.nr_uarts=1 "
           "no_timer_check rcupdate.rcu_expedited=1 rdinit=/init systemd.unit=guest.target systemd.show_status=0 "
           "systemd.log_level=warning systemd.log_target=console systemd.default_timeout_start_sec=60")


class Failed(Exception):
    pass


def tool(*argv, **kw):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, **kw)
    if done.returncode:
        raise Failed(f"{os.path.basename(argv[0])}: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip()


def cpio(entries):
    """An archive in cpio's "newc" form of (name, mode, device, bytes)."""
    out = bytearray()
    for inode, (name, mode, device, data) in enumerate([*entries, ("TRAILER!!!", 0, 0, b"")], 1):
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, device >> 8, device & 255, len(name) + 1, 0)
        out += b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def initramfs(kernel, to):
    entries = [(name, 0o40755, 0, b"") for name in ("bin", "dev", "proc", "sys", "modules")]
    entries.append(("dev/console", 0o20600, 5 << 8 | 1, b""))

    def add(name, path, mode=0o100755):
        with open(path, "rb") as f:
            entries.append((name, mode, 0, f.read()))
    add("bin/busybox", shutil.which("busybox"))
    for applet in ("sh", "mount", "mkdir", "insmod", "cat", "ln", "cp", "mknod", "chmod", "switch_root"):
        entries.append((f"bin/{applet}", 0o120777, 0, b"busybox"))
    add("init", os.path.join(HERE, "init"))
    for name in ("masked", "guest.target", "guest.service"):
        add(name, os.path.join(HERE, name), 0o100644)
    for i, name in enumerate(MODULES):
        for path in glob.glob(os.path.join(kernel, "modules", f"*-{name}.ko")):
            add(f"modules/{i:02}-{name}.ko", path)
    with open(to, "wb") as f:
        f.write(cpio(entries))


def tools_disk(build, command, folder):
    """The programs, this folder and the command, as an EROFS image."""
    stage = os.path.join(folder, "tools")
    os.mkdir(stage)
    for name in PROGRAMS:
        shutil.copy2(os.path.join(build, name), stage)
    shutil.copytree(HERE, os.path.join(stage, "guest"), ignore=shutil.ignore_patterns("__pycache__"))
    with open(os.path.join(stage, "command"), "w") as f:
        f.write(command + "\n")
    image = os.path.join(folder, "tools.erofs")
    tool("mkfs.erofs", "-T0", "--all-root", "--quiet", image, stage)
    shutil.rmtree(stage)
    return image


def scratch_disk(folder):
    """An empty ext4, to be thrown away: it takes room as it is filled."""
    image = os.path.join(folder, "scratch.ext4")
    with open(image, "wb") as f:
        os.truncate(f.fileno(), SCRATCH_MB << 20)
    tool("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1", image)
    return image


def qemu_arguments(folder, kernel, disks, accelerator, cpus, memory_mb):
    kind, khz = accelerator
    emulated = f" tsc_early_khz={khz} tsc=reliable mitigations=off" if kind == "tcg" else ""
    argv = ["qemu-system-x86_64", "-M", "microvm,acpi=on,pit=off,pic=off,rtc=on", "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot", "-m", f"{memory_mb}M", "-smp", str(cpus),
            "-accel", "kvm" if kind == "kvm" else "tcg,tb-size=256", "-cpu", "host" if kind == "kvm" else "max,la57=off,-cx16,-erms,-fsrm,-smap",
            "-kernel", os.path.join(kernel, "vmlinux"), "-initrd", os.path.join(folder, "initramfs"),
            "-append", OPTIONS + emulated, "-global", "virtio-mmio.force-legacy=false", "-serial", "chardev:console",
            "-device", "virtio-serial-device,max_ports=3",
            "-device", "virtserialport,chardev=output,nr=1", "-device", "virtserialport,chardev=status,nr=2"]
    for name, path in disks.items():
        use = "cache.no-flush=on" if name == "scratch" else "read-only=on"
        argv += ["-blockdev", f"driver=raw,node-name={name},file.driver=file,file.filename={path},file.locking=off,{use}",
                 "-device", f"virtio-blk-device,drive={name},serial={name}"]
    return argv


class Channels:
    """The console, the output and the status of one machine, read until the status is whole or the machine ends."""
    NAMES = ("console", "output", "status")

    def __init__(self):
        self.ours, self.theirs = {}, {}
        for name in self.NAMES:
            self.ours[name], self.theirs[name] = socket.socketpair()
        self.read = {name: b"" for name in self.NAMES}

    def arguments(self):
        return [word for name, s in self.theirs.items() for word in ("-chardev", f"socket,id={name},fd={s.fileno()}")]

    def fds(self):
        return [s.fileno() for s in self.theirs.values()]

    def started(self):
        for s in self.theirs.values():
            s.close()

    def close(self):
        for s in [*self.ours.values(), *self.theirs.values()]:
            s.close()

    def follow(self, deadline, stream):
        """True when a whole status came, or all channels were closed, before the deadline."""
        with selectors.DefaultSelector() as waiting:
            for name, s in self.ours.items():
                waiting.register(s, selectors.EVENT_READ, name)
            while waiting.get_map() and not self.read["status"].endswith(b"\n"):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                for key, _ in waiting.select(left):
                    self.take(waiting, key, stream)
            return True

    def take(self, waiting, key, stream):
        data = key.fileobj.recv(65536)
        if not data:
            waiting.unregister(key.fileobj)
        self.read[key.data] += data
        if stream and key.data == "output":
            stream.write(data)
            stream.flush()

    def drain(self):
        """What was sent before the status and has not been read."""
        s = self.ours["output"]
        s.setblocking(False)
        try:
            while data := s.recv(65536):
                self.read["output"] += data
                yield data
        except BlockingIOError:
            pass


class Result:
    def __init__(self, status, output, console, seconds):
        self.status, self.output, self.console, self.seconds = status, output, console, seconds


def kernel_folder(build):
    """Debian's kernel, unpacked once beside its package."""
    package = tool(os.path.join(TOP, "scripts/fetch"), "--print", "kernel")
    return tool(os.path.join(build, "proa-kernel"), "--out", os.path.join(os.path.dirname(package), "unpacked"),
                "--package", package)


def run(build, command, seconds=300, stream=None, cpus=2, memory_mb=1024):
    """Runs the shell command in a new guest; gives its Result. Failed: it did not come to an end in time."""
    start = time.monotonic()
    kernel, root = kernel_folder(build), tool(os.path.join(HERE, "image"))
    accelerator = tool(os.path.join(build, "tests/guest/guest_accel")).split()
    with tempfile.TemporaryDirectory(prefix="proa-guest-") as folder:
        initramfs(kernel, os.path.join(folder, "initramfs"))
        disks = {"root": root, "tools": tools_disk(build, command, folder), "scratch": scratch_disk(folder)}
        channels, machine = Channels(), None
        argv = qemu_arguments(folder, kernel, disks, accelerator, cpus, memory_mb)
        try:
            machine = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *argv, *channels.arguments()],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                       pass_fds=channels.fds())
            channels.started()
            in_time = channels.follow(start + seconds, stream)
            if in_time:
                for data in channels.drain():
                    if stream:
                        stream.write(data)
        finally:
            if machine:
                machine.kill()
                complaint = machine.communicate()[1].decode(errors="replace").strip()
            channels.close()
    read = {name: data.decode(errors="replace") for name, data in channels.read.items()}
    if not read["status"].endswith("\n"):
        why = "ended without a status" if in_time else f"did not end within {seconds} s"
        raise Failed(f"the guest {why}; {complaint}\nconsole: {read['console'][-3000:]}\noutput: {read['output'][-3000:]}")
    return Result(int(read["status"]), read["output"], read["console"], time.monotonic() - start)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.environ.get("PROA_BUILD", os.path.join(TOP, "build")))
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    try:
        result = run(os.path.abspath(args.build), " ".join(args.command), args.seconds, sys.stdout.buffer)
    except Failed as e:
        sys.exit(f"machine.py: {e}")
    sys.stderr.write(result.console)
    sys.stderr.write(f"{result.seconds:.1f} s\n")
    return result.status


if __name__ == "__main__":
    sys.exit(main())
