#!/usr/bin/python3
"""Disks that boot in a few seconds, made once into the cache of scripts/fetch. Prints their paths.

    tests/machine/disk.py [tiny|agent|mach|mach-screen...]

tiny   a Linux that is no distribution's: Debian's cloud kernel, busybox and `init`, on one file that boots by BIOS
       (ISOLINUX: under emulation GRUB takes six seconds to read that kernel, ISOLINUX a fifth of one) and by UEFI
       (GRUB), from a disk drive and from a CD-ROM.
       It keeps nothing; tests write to its disk past the end of the image, where only a grown disk has room.
agent  the same with QEMU's guest agent, and the programs that Proa wants of a guest's user land.
mach   no Linux: GNU Mach, the Hurd's kernel. There is no Hurd behind it, so it stops in its own debugger, which has
       a prompt on the serial console; mach-screen has it on the screen.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests/guest"))

from machine import cpio, tool  # noqa: E402

MODULES = ["virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi", "virtio_console", "virtio_rng", "virtio_balloon",
           "ahci", "sd_mod", "sr_mod", "button", "evdev", "tpm_crb", "pvpanic_mmio"]
APPLETS = ("sh mount mkdir modprobe cat ls ln cp echo poweroff reboot halt getty login acpid setsid stty dd sync sleep "
           "ip udhcpc ps kill head tail od wc grep dmesg date hostname blockdev free nproc sha256sum tr uname "
           "clear readlink basename test true false mkfifo touch rm id mv mktemp tar chmod sed env find dirname cut").split()
AGENT = ["/usr/sbin/qemu-ga", "/usr/bin/setpriv", "/usr/bin/ps", "/usr/bin/getent"]
ARGUMENTS = ("console=ttyS0 quiet loglevel=3 panic=1 cryptomgr.notests random.trust_cpu=on no_timer_check lsm= mitigations=off")
ISOLINUX = f"""SERIAL 0 115200
DEFAULT tiny
PROMPT 0
LABEL tiny
 LINUX /vmlinuz
 INITRD /initramfs
 APPEND {ARGUMENTS}
"""
GRUB = f"""serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=0
menuentry tiny {{
    linux /vmlinuz {ARGUMENTS}
    initrd /initramfs
}}
"""
EFI_MODULES = "iso9660 part_gpt part_msdos search search_fs_file linux normal configfile serial terminal echo".split()
SYSLINUX = "/usr/lib/ISOLINUX", "/usr/lib/syslinux/modules/bios"
MACH = "set timeout=0\nmenuentry mach {\n    multiboot /gnumach.gz %s\n}\n"


def modules(tree, version):
    """The modules and what they need, and the index that modprobe reads."""
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


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def efi_partition(work, to):
    """A file system with GRUB, which looks for the kernel and then does what the disk's own grub.cfg says."""
    program, first = os.path.join(work, "bootx64.efi"), os.path.join(work, "first.cfg")
    write(first, "search --no-floppy --file --set=root /vmlinuz\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n")
    tool("grub-mkimage", "--format=x86_64-efi", f"--output={program}", f"--config={first}", "--prefix=/boot/grub", *EFI_MODULES)
    with open(to, "wb") as f:
        f.truncate(4 << 20)
    tool("mkfs.vfat", to)
    tool("mmd", "-i", to, "::/EFI", "::/EFI/BOOT")
    tool("mcopy", "-i", to, program, "::/EFI/BOOT/BOOTX64.EFI")


def make_tiny(package, work, root, made, agent=False):
    tree = os.path.join(work, "tree")
    tool("dpkg-deb", "-x", package, tree)
    version = os.listdir(os.path.join(tree, "lib/modules"))[0]
    shutil.copy(os.path.join(tree, "boot", f"vmlinuz-{version}"), os.path.join(root, "vmlinuz"))
    initramfs(tree, version, os.path.join(root, "initramfs"), agent)
    write(os.path.join(root, "boot/grub/grub.cfg"), GRUB)
    write(os.path.join(root, "isolinux/isolinux.cfg"), ISOLINUX)
    shutil.copy(os.path.join(SYSLINUX[0], "isolinux.bin"), os.path.join(root, "isolinux"))
    shutil.copy(os.path.join(SYSLINUX[1], "ldlinux.c32"), os.path.join(root, "isolinux"))
    efi_partition(work, os.path.join(root, "efi.img"))
    tool("xorriso", "-as", "mkisofs", "-quiet", "-V", "TINY", "-isohybrid-mbr", os.path.join(SYSLINUX[0], "isohdpfx.bin"),
         "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table",
         "-eltorito-alt-boot", "-e", "efi.img", "-no-emul-boot", "-isohybrid-gpt-basdat", "-o", made, root)


def make_mach(package, work, root, made, console="console=com0"):
    tree = os.path.join(work, "tree")
    tool("dpkg-deb", "-x", package, tree)
    kernel, = (n for n in os.listdir(os.path.join(tree, "boot")) if n.startswith("gnumach-"))
    shutil.copy(os.path.join(tree, "boot", kernel), os.path.join(root, "gnumach.gz"))
    write(os.path.join(root, "boot/grub/grub.cfg"), MACH % console)
    tool("grub-mkrescue", "--compress=no", "--locales=", "--fonts=", "--themes=", "-o", made, root)


KINDS = {"tiny": ("kernel", make_tiny), "agent": ("kernel", lambda *args: make_tiny(*args, agent=True)), "mach": ("mach", make_mach),
         "mach-screen": ("mach", lambda *args: make_mach(*args, console=""))}


def path_of(kind, make=False):
    """Where it is: the name tells what it was made of. None when it was not made, and is not to be."""
    fetched, make_disk = KINDS[kind]
    package = tool(os.path.join(TOP, "scripts/fetch"), "--print", fetched)
    folder = os.path.join(os.path.dirname(os.path.dirname(package)), "machine")
    made_by = b"".join(open(os.path.join(HERE, n), "rb").read() for n in ("disk.py", "init", "shutdown"))
    path = os.path.join(folder, f"{kind}-{zlib.crc32(made_by + package.encode()):08x}.img")
    if os.path.exists(path) or not make:
        return path if os.path.exists(path) else None
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="work.", dir=folder) as work:
        root, made = os.path.join(work, "root"), os.path.join(work, "disk")
        os.makedirs(root)
        make_disk(package, work, root, made)
        for old in os.listdir(folder):
            if old.rpartition("-")[0] == kind:
                os.unlink(os.path.join(folder, old))
        os.rename(made, path)
    return path


if __name__ == "__main__":
    for asked in sys.argv[1:] or KINDS:
        print(path_of(asked, make=True))
