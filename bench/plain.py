"""A machine as one starts it by hand: QEMU with a tap on a plain bridge of Linux, no rule, no confinement. It is what Proa's
machines are compared with on the network, since neither Docker nor Podman has any.

It is the machine that Proa makes, by the arguments of Proa's own QEMU (processor, memory, kernel's command line), with the
same kernel and the same virtio device; its system is busybox and bench/load.c, out of an initramfs.
"""

import os
import shutil
import subprocess
import sys

import common

sys.path.insert(0, os.path.join(common.TOP, "tests/machine"))
import disk  # noqa: E402

BRIDGE, CLIENT, MACHINE, MAC = "10.99.0.1", "10.99.0.2", "10.99.0.3", "02:00:00:99:00:03"
SAME = ("-M", "-smp", "-accel", "-cpu", "-append", "-m")
INIT = f"""#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
modprobe virtio_mmio
modprobe virtio_net
ip link set lo up
ip addr add {MACHINE}/24 dev eth0
ip link set eth0 up
exec load serve 5001
"""


def arguments_of(pid):
    """Those of a QEMU of Proa's that make the machine what it is."""
    with open(f"/proc/{pid}/cmdline") as f:
        words = f.read().split("\0")
    return [word for i, option in enumerate(words) if option in SAME for word in (option, words[i + 1])]


def unpack(package):
    """The kernel's file, its version and the folder of its modules."""
    tree = f"{common.PLACE}/plain"
    common.sh("dpkg-deb", "-x", package, tree)
    version, = os.listdir(f"{tree}/lib/modules")
    return f"{tree}/boot/vmlinuz-{version}", version, tree


def initramfs(load, version, tree):
    disk.MODULES = ["virtio_mmio", "virtio_net"]
    files, index, _ = disk.modules(tree, version)
    files += [("bin/busybox", shutil.which("busybox")), ("bin/load", load)]
    texts = [("init", INIT), (f"lib/modules/{version}/modules.dep", index)]
    folders = {"dev", "proc", "sys"}
    for name, _ in [*files, *texts]:
        parts = name.split("/")[:-1]
        folders.update("/".join(parts[:i + 1]) for i in range(len(parts)))
    entries = [(name, 0o40755, 0, b"") for name in sorted(folders)]
    entries.append(("dev/console", 0o20600, 5 << 8 | 1, b""))
    for name, path in files:
        with open(path, "rb") as f:
            entries.append((name, 0o100755, 0, f.read()))
    entries += [(name, 0o100755, 0, text.encode()) for name, text in texts]
    entries += [(f"bin/{applet}", 0o120777, 0, b"busybox") for applet in ("sh", "mount", "modprobe", "ip")]
    with open(f"{tree}/initramfs", "wb") as f:
        f.write(disk.cpio(entries))
    return f"{tree}/initramfs"


class Plain:
    """The bridge with the machine and, at the end of a veth pair, whoever asks it; in a World of its own."""
    name = "plain QEMU"

    def __init__(self, load, package, like):
        """like: the pid of a QEMU of Proa's."""
        kernel, version, tree = unpack(package)
        ram = initramfs(load, version, tree)
        self.world = common.World()
        self.client = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo up; exec sleep 100000"], stdout=subprocess.PIPE, text=True)
        self.client.stdout.readline()
        with self.world:
            self.wire()
            self.qemu = subprocess.Popen(
                ["qemu-system-x86_64", "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "null",
                 "-global", "virtio-mmio.force-legacy=false", *arguments_of(like), "-kernel", kernel, "-initrd", ram,
                 "-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no",
                 "-device", f"virtio-net-device,netdev=net,guest_announce=off,mac={MAC}"], stdin=subprocess.DEVNULL)
        self.address, self.enter = MACHINE, common.enter(self.client.pid)

    def wire(self):
        for line in (["link", "add", "plain", "type", "bridge"], ["addr", "add", BRIDGE + "/24", "dev", "plain"],
                     ["tuntap", "add", "tap0", "mode", "tap", "vnet_hdr"], ["link", "set", "tap0", "master", "plain", "up"],
                     ["link", "add", "port0", "master", "plain", "up", "type", "veth", "peer", "name", "eth0", "netns", str(self.client.pid)],
                     ["link", "set", "plain", "up"]):
            common.sh("ip", *line)
        for line in (["addr", "add", CLIENT + "/24", "dev", "eth0"], ["link", "set", "eth0", "up"]):
            common.sh(*common.enter(self.client.pid), "ip", *line)

    def close(self):
        for process in (self.qemu, self.client):
            process.kill()
            process.wait()
        self.world.close()
