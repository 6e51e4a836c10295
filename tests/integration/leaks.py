"""What exists before and after a test: anything new at the end was leaked.

Kept prepared on purpose, and so part of the first snapshot (conftest.py warms it up): the default
network's bridge and name server, and the mounted layers of the session's images.
"""

import os
import re
import socket
import sqlite3
import struct
import subprocess
import time

from cli import PATIENCE
from sandbox import STATE

RUN = "/run/proa"
CGROUPS = "/sys/fs/cgroup"


def mounts():
    with open("/proc/self/mountinfo") as f:
        for line in f:
            left, right = line.rstrip("\n").split(" - ")
            yield f"mount {left.split()[4]} ({right.split()[0]})"


def links():
    for _, name in socket.if_nameindex():
        yield f"link {name}"


def cgroups():
    """The session sees its own part of each hierarchy only (sandbox.py): all of it is Proa's."""
    for top, folders, _ in os.walk(CGROUPS):
        if top != CGROUPS:
            for name in folders:
                # Kept for the next start, as networks are; a killed maker's goes with the next one, or with prune.
                if (os.path.dirname(top) != CGROUPS or name != "proa") and not name.startswith("template-"):
                    yield f"cgroup {top}/{name}"


def prepared(pid, command):
    """Kept for the next start: what tells a network's machines their addresses, and what makes or keeps a template of
    machines, whose machine is told by its user."""
    return command.startswith(("proa-template ", "proa-lease:")) or os.stat(f"/proc/{pid}").st_uid == 0x74000000


def processes():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                text = f.read()
            fields = text[text.rindex(")") + 2:].split()
            if fields[0] in "ZX":
                continue
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                command = f.read(300).replace(b"\0", b" ").decode(errors="replace").strip()
            if not prepared(pid, command):
                yield f"process {pid} {fields[19]} {command[:160]}"
        except (OSError, ValueError):
            continue


def generation():
    """The number of the rules' last change (NFT_MSG_GETGEN): listing them takes fifty times as long as asking for it."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as s:  # NETLINK_NETFILTER
        s.send(struct.pack("=IHHII4x", 20, 10 << 8 | 16, 1, 0, 0))
        answer = s.recv(4096)
    assert struct.unpack_from("=HH", answer, 20)[1] & 0x3fff == 1  # NFTA_GEN_ID
    return struct.unpack_from(">I", answer, 24)[0]


listed = (None, [])  # generation, what it had


def rules():
    global listed
    now = generation()
    if listed[0] != now:
        listed = (now, list(list_rules()))
    return listed[1]


def list_rules():
    out = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout
    table, seen = "", False
    for line in out.splitlines():
        if line.startswith("table"):
            table = line
        if line.startswith("\t") and not line.startswith("\t\t"):  # what was seen is kept for a day, for `proa flows`
            seen = bool(re.match(r"\t(set (allowed|denied|stray|refused|limited|usual|named|begun|piecers)|chain (special|prefer) )", line))
        if line.startswith("table") or seen:
            pass  # the first limit or priority brings a chain that stays
        elif "proa-policy" in table and "ct mark" in line:
            pass  # each change has a number of its own, and another root's has none
        elif line.strip() not in ("", "}"):
            if "proa-policy" in table:  # what is made anew has another number
                line = re.sub(r"\b([aehips])\d+(?=\b|_|[ehi]\b)", r"\1N", line)
            yield f"nft {table} {re.sub(r'counter packets [0-9]+ bytes [0-9]+', 'counter', line.strip())}"


def files():
    for top in ("instances", "layers", "blobs/sha256", "disks", "snapshots", "tmp", "volumes", "run/instances", "run/layers"):
        base = RUN if top.startswith("run/") else STATE
        path = os.path.join(base, top[4:] if top.startswith("run/") else top)
        if os.path.isdir(path):
            for name in os.listdir(path):
                yield f"file {path}/{name}"
    networks = os.path.join(RUN, "networks")
    for folder, _, names in os.walk(networks) if os.path.isdir(networks) else ():
        for name in names:
            if name != "lease.pid":  # prepared, below
                yield f"file {folder}/{name}"


def ports():
    for table in ("tcp", "udp", "tcp6", "udp6"):
        with open(f"/proc/net/{table}") as f:
            for line in list(f)[1:]:
                fields = line.split()
                # A name server's questions upstream come from a high port for a moment.
                asking = table.startswith("udp") and int(fields[1].split(":")[1], 16) >= 32768
                if (table.startswith("tcp") and fields[3] == "0A") or (table.startswith("udp") and not asking):
                    yield f"port {table} {fields[1]}"


def rows():
    """How many rows each table of the store has."""
    path = os.path.join(STATE, "proa.db")
    if not os.path.exists(path):
        return
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%'").fetchall():
            yield f"rows {name} {db.execute(f'SELECT count(*) FROM {name}').fetchone()[0]}"
    finally:
        db.close()


def devices():
    """The device tree is one for the whole machine: a name more, fewer or of another type is damage. So it shows the macvtap
    links of whoever else runs tests, too; our own are among the links."""
    for entry in os.scandir("/dev"):
        if not entry.name.startswith(("loop", "pts", "shm", "tap")):
            mode = entry.stat(follow_symlinks=False)
            yield f"device /dev/{entry.name} {mode.st_mode:o} {mode.st_rdev:x}"


# What the test before left to go by itself; of the processes, the name servers stay.
PASSING = re.compile(r"process|link proa[vtf]|port ")
KEPT = re.compile(r"dnsmasq")


def snapshot():
    found = set()
    for part in (devices, mounts, links, cgroups, processes, rules, files, ports, rows):
        found.update(part())
    return found


def settled(before, timeout=15):
    """Waits until nothing is there that was not there before; gives what stayed, and what is missing."""
    end = time.monotonic() + timeout * PATIENCE
    while True:
        now = snapshot()
        extra, gone = now - before, {g for g in before - now if not PASSING.match(g) or KEPT.search(g)}
        if not extra and not gone:
            return [], []
        if time.monotonic() > end:
            return sorted(extra), sorted(gone)
        time.sleep(0.05)
