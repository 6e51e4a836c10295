"""What is known of the processes of the sandbox when a command has not come to its end: where each of them waits in the
kernel, and how far the machines have come. A test that waited too long is often seen once only, and elsewhere."""

import glob
import os

OURS = ("proa", "qemu", "virtiofsd", "dnsmasq", "nft", "swtpm")
KERNEL_FRAMES = 6


def text_of(path, limit=4096):
    try:
        with open(path, "rb") as f:
            return f.read(limit).decode(errors="replace").strip()
    except OSError:
        return ""


def tail_of(path, limit=600):
    try:
        with open(path, "rb") as f:
            f.seek(max(0, os.fstat(f.fileno()).st_size - limit))
            return f.read().decode(errors="replace").strip()
    except OSError:
        return ""


def process_line(pid):
    """Its name, state and arguments, and where its threads are in the kernel."""
    name, _, rest = text_of(f"/proc/{pid}/stat").partition("(")[2].rpartition(")")
    if not name.startswith(OURS):
        return None
    threads = []
    for task in sorted(glob.glob(f"/proc/{pid}/task/*")):
        frames = [line.split()[-1].partition("+")[0] for line in text_of(f"{task}/stack").splitlines()[:KERNEL_FRAMES]]
        state = text_of(f"{task}/stat").rpartition(")")[2].split()[:1]
        threads.append(f"{''.join(state)}:{'<'.join(frames)}")
    return f"{pid} of {rest.split()[1]} {text_of(f'/proc/{pid}/cmdline', 200)} {' '.join(threads)}".replace("\0", " ")


def report(state):
    """One line for each process, and what each instance's machine has said last."""
    pids = sorted((p for p in os.listdir("/proc") if p.isdigit()), key=int)
    lines = [line for line in map(process_line, pids) if line]
    for timing in glob.glob("/run/proa/instances/*/timing"):
        ident = timing.split("/")[-2]
        lines.append(f"{ident[:12]} timing {' '.join(text_of(timing).split())}; console {tail_of(f'{state}/instances/{ident}/console.log')!r}")
    pressure = text_of("/proc/pressure/io").splitlines()
    return "\n  ".join([*lines, f"load {text_of('/proc/loadavg')}", *pressure])
