"""A machine's bundle made by hand, and proa-vm driven directly, as its monitor would."""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess

CAPS = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
        "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"]


def build_dir():
    return pathlib.Path(os.environ.get(
        "PROA_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))


def make_layer(where):
    """A busybox root as an EROFS layer."""
    root = where / "rootfs"
    layer = where / "layer.erofs"
    if layer.exists():
        return layer
    for name in ("bin", "dev", "proc", "sys", "etc", "tmp", "root", "run", "usr", "data"):
        (root / name).mkdir(parents=True, exist_ok=True)
    busybox = shutil.which("busybox")
    shutil.copy(os.path.realpath(busybox), root / "bin" / "busybox")
    for applet in subprocess.check_output([busybox, "--list"], text=True).split():
        if applet != "busybox" and not (root / "bin" / applet).exists():
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nuser:x:1000:\nextra:x:2000:user\n")
    os.chmod(root / "tmp", 0o1777)
    subprocess.run(["mkfs.erofs", str(layer), str(root)], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return layer


def config(args, **kw):
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
         "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
         "options": ["ro", "nosuid", "noexec", "nodev"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
    ] + kw.get("mounts", [])
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": kw.get("terminal", False),
            "user": kw.get("user", {"uid": 0, "gid": 0}),
            "args": args,
            "env": ["PATH=/usr/bin:/bin", "HOME=/root"] + kw.get("env", []),
            "cwd": kw.get("cwd", "/"),
            "capabilities": {k: CAPS for k in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": kw.get("readonly", False)},
        "hostname": kw.get("hostname", "probe"),
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": t} for t in ("pid", "mount", "ipc", "uts", "network")],
            "maskedPaths": ["/proc/kcore", "/proc/acpi", "/sys/firmware"],
            "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger"],
            "resources": {"pids": {"limit": 200}},
        },
    }


class Machine:
    """One machine: a bundle, and while started a proa-vm."""

    def __init__(self, base, args, layers=None, kernel=None, network=None, disk=True, **kw):
        self.id = "%064x" % random.getrandbits(256)
        self.bundle = base / "instances" / self.id
        self.run_dir = base / "run" / "instances" / self.id
        self.bundle.mkdir(parents=True)
        self.run_dir.mkdir(parents=True)
        kernel = kernel or kernel_dir(base)
        proa = {
            "kind": "vm", "id": self.id,
            "layers": [{"erofs": str(p)} for p in (layers or [make_layer(base)])],
            "disk_bytes": kw.pop("disk_bytes", 256 << 20),
            "cold": True, "memory_bytes": kw.pop("memory", 256 << 20), "cpus": kw.pop("cpus", 1),
            "kernel": str(kernel / "vmlinux"), "initramfs": str(kernel / "initramfs"),
            "init": kw.pop("init", False),
        }
        if disk:
            proa["disk"] = str(self.bundle / "disk.ext4")
        if network:
            proa["networks"] = [network]
        self.tap = kw.pop("tap", None)
        self.terminal = kw.get("terminal", False)
        (self.bundle / "config.json").write_text(json.dumps(config(args, **kw)))
        (self.bundle / "proa.json").write_text(json.dumps(proa))
        self.process = None

    def start(self, **popen):
        """Starts proa-vm; gives its ready line ("ok" or "error ...")."""
        ready, ready_child = os.pipe()
        argv = [str(build_dir() / "proa-vm"), "--bundle", str(self.bundle),
                "--run-dir", str(self.run_dir), "--ready-fd", str(ready_child)]
        fds = [ready_child]
        if self.tap is not None:
            argv += ["--tap-fd", str(self.tap)]
            fds.append(self.tap)
        if self.terminal:
            argv += ["--terminal"]
        defaults = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                        start_new_session=True)
        defaults.update(popen)
        self.process = subprocess.Popen(argv, pass_fds=fds, **defaults)
        os.close(ready_child)
        with os.fdopen(ready) as f:
            return f.readline().strip()

    def finish(self, input=None, timeout=120):
        out, err = self.process.communicate(input, timeout)
        return self.process.returncode, out, err

    def run(self, **popen):
        ready = self.start(**popen)
        return (ready,) + self.finish()

    def timing(self):
        text = (self.run_dir / "timing").read_text()
        return {k: int(v) for k, v in (line.split("=") for line in text.split())}

    def op(self, *args, **kw):
        """The operations of runtime.h on the running machine, by the probe program."""
        return subprocess.run([str(build_dir() / "tests" / "integration" / "vm_probe_ops"),
                               str(self.bundle), str(self.run_dir), str(self.process.pid), *args],
                              capture_output=True, timeout=60, **kw)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        if self.process:
            self.op("clean")  # its control group, as the engine does


def kernel_dir(base):
    """A prepared kernel; from the package that scripts/fetch keeps, where there is one."""
    out = os.environ.get("PROA_KERNELS", str(base / "cache" / "kernel"))
    argv = [str(build_dir() / "proa-kernel"), "--out", out]
    fetch = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "fetch"
    if fetch.exists():
        package = subprocess.run([str(fetch), "--print", "kernel"], capture_output=True,
                                 text=True).stdout.strip()
        if package and os.path.exists(package):
            argv += ["--package", package]
    return pathlib.Path(subprocess.check_output(argv, text=True).strip())
