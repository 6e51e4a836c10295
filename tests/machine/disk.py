#!/usr/bin/python3
"""A disk that boots in a few seconds, by BIOS and by UEFI, from a disk drive and from a CD-ROM.

    tests/machine/disk.py FILE [--agent]

GRUB (grub-mkrescue makes one file that all of these can start), Debian's cloud kernel and an initramfs
made here: busybox, the modules that a PC's virtio, SCSI and SATA devices need, and `init`. The system
keeps nothing; tests write to its disk past the end of the image, where only a grown disk has room.
With --agent it has QEMU's guest agent, too, and the programs that Proa wants of a guest's user land.
"""

import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests/guest"))

from machine import cpio, tool  # noqa: E402

MODULES = ["virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi", "virtio_console", "virtio_rng", "virtio_balloon",
           "ahci", "sd_mod", "sr_mod", "button", "evdev", "tpm_crb"]
APPLETS = ("sh mount mkdir modprobe cat ls ln cp echo poweroff reboot halt getty login acpid setsid stty dd sync sleep "
           "ip udhcpc ps kill head tail od wc grep dmesg date hostname blockdev free nproc sha256sum tr uname "
           "clear readlink basename test true false mkfifo touch rm id mv mktemp tar chmod sed env find dirname cut").split()
AGENT = ["/usr/sbin/qemu-ga", "/usr/bin/setpriv", "/usr/bin/ps", "/usr/bin/getent"]
GRUB = """serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=0
menuentry tiny {
    linux /vmlinuz console=ttyS0 quiet loglevel=3 panic=1 cryptomgr.notests random.trust_cpu=on no_timer_check lsm=
    initrd /initramfs
}
"""


def modules(tree, version):
    """The modules and what they need, with the index that modprobe reads."""
    folder = os.path.join(tree, "lib/modules", version)
    subprocess.run(["depmod", "-b", tree, version], check=True)
    needs = {}
    with open(os.path.join(folder, "modules.dep")) as f:
        for line in f:
            path, _, more = line.partition(":")
            needs[os.path.basename(path)[:-3].replace("-", "_")] = [path, *more.split()]
    wanted = dict.fromkeys(p for m in MODULES if m in needs for p in needs[m])
    index = "".join(f"{path}: {' '.join(needs[os.path.basename(path)[:-3].replace('-', '_')][1:])}\n" for path in wanted)
    files = [(f"lib/modules/{version}/{p}", os.path.join(folder, p)) for p in wanted]
    return files, index, [m for m in MODULES if m in needs]


def programs(paths):
    """Each of the host's programs with its libraries: (name, path)."""
    found = dict.fromkeys(paths)
    for path in paths:
        for word in tool("ldd", path).split():
            if word.startswith("/"):
                found[word] = None
    return [(path.lstrip("/"), os.path.realpath(path)) for path in found]


def initramfs(tree, version, to, agent=False):
    files, index, load = modules(tree, version)
    if agent:
        files += programs(AGENT)
        files.append(("sbin/shutdown", os.path.join(HERE, "shutdown")))
    folders = {"bin", "dev", "proc", "sys", "etc", "root", "tmp", "var/tmp", "var", "run"}
    for name, _ in files:
        parts = name.split("/")[:-1]
        folders.update("/".join(parts[:i + 1]) for i in range(len(parts)))
    entries = [(name, 0o40755, 0, b"") for name in sorted(folders)]
    entries.append(("dev/console", 0o20600, 5 << 8 | 1, b""))
    for name, path in [("bin/busybox", shutil.which("busybox")), ("init", os.path.join(HERE, "init")), *files]:
        with open(path, "rb") as f:
            entries.append((name, 0o100755, 0, f.read()))
    entries += [(f"bin/{applet}", 0o120777, 0, b"busybox") for applet in APPLETS]
    for name, text in [(f"lib/modules/{version}/modules.dep", index), ("etc/load", "\n".join(load) + "\n"),
                       ("etc/passwd", "root::0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n"),
                       ("etc/group", "root:x:0:\nuser:x:1000:\n"), ("etc/nsswitch.conf", "passwd: files\ngroup: files\n"),
                       ("etc/issue", "\nTiny Linux on \\l\n\n")]:
        entries.append((name, 0o100644, 0, text.encode()))
    with open(to, "wb") as f:
        f.write(cpio(entries))


def make(path, agent=False):
    package = tool(os.path.join(TOP, "scripts/fetch"), "--print", "kernel")
    with tempfile.TemporaryDirectory(prefix="proa-disk-", dir=os.path.dirname(os.path.abspath(path))) as work:
        tree, root = os.path.join(work, "tree"), os.path.join(work, "root")
        tool("dpkg-deb", "-x", package, tree)
        version = os.listdir(os.path.join(tree, "lib/modules"))[0]
        os.makedirs(os.path.join(root, "boot/grub"))
        shutil.copy(os.path.join(tree, "boot", f"vmlinuz-{version}"), os.path.join(root, "vmlinuz"))
        initramfs(tree, version, os.path.join(root, "initramfs"), agent)
        with open(os.path.join(root, "boot/grub/grub.cfg"), "w") as f:
            f.write(GRUB)
        tool("grub-mkrescue", "--compress=no", "--locales=", "--fonts=", "--themes=", "-o", os.path.join(work, "disk"), root)
        os.rename(os.path.join(work, "disk"), path)


if __name__ == "__main__":
    make(sys.argv[1], "--agent" in sys.argv[2:])
