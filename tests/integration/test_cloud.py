"""Debian as clouds have it (tests/cloud/image): what cloud-init is told arrives, commands reach in through the guest agent,
and it shuts down cleanly. It boots once for all its tests, with the BIOS; UEFI with secure boot is followed until the
agent answers, which is past all that the firmware has to do with. With a busy PostgreSQL inside it is kept, put back,
cloned, and moved away and back."""

import os
import shutil
import subprocess
import threading
import time

import pytest

from cli import proa, until
from sandbox import STATE, TOP

pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.leaky]  # the machine is there for the whole module
BOOT_SECONDS = 900  # emulated, on a busy host


def inside(name, *argv, **kw):
    return proa("exec", name, *argv, **kw)


@pytest.fixture(scope="module")
def key(house):
    path = house / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True, stdin=subprocess.DEVNULL)
    return path


def image_file():
    return subprocess.run([os.path.join(TOP, "scripts/fetch"), "--print", "cloud"], text=True, capture_output=True,
                          check=True).stdout.strip()


@pytest.fixture(scope="module")
def image(house, fetched):
    proa("import", image_file(), "cloud", timeout=300)
    yield "cloud"
    proa("rmi", "cloud", timeout=60)


@pytest.fixture(scope="module")
def machine(house, image, key):
    script = house / "user-data"
    script.write_text("#!/bin/sh\necho \"$(hostname) was here\" >/root/said\n")
    proa("run", "-d", "--name", "web", "-m", "1g", "--disk-size", "5g", "--cloud-user", "me", "--ssh-key", f"{key}.pub",
         "--user-data", script, "--dns", "10.1.2.3", "--dns-search", "example.net", "--add-host", "db:10.9.9.9",
         "--firmware", "bios", image, timeout=120)
    try:
        wait_for_cloud_init("web")
        yield "web"
    finally:
        proa("rm", "-f", "web", check=False)


def wait_for_agent(name):
    end = time.monotonic() + BOOT_SECONDS
    while inside(name, "true", check=False).rc:
        assert time.monotonic() < end, proa("logs", "--tail", "30", name).out
        time.sleep(1)


def wait_for_cloud_init(name):
    """One command waits inside: each question costs an emulated machine time. /run is new at each start."""
    wait_for_agent(name)
    result = "/run/cloud-init/result.json"
    done = inside(name, "sh", "-c", f"until [ -e {result} ]; do sleep .5; done; cat {result}", timeout=BOOT_SECONDS)
    assert done.json["v1"]["errors"] == [] and "NoCloud" in done.json["v1"]["datasource"], done


def test_what_cloud_init_was_told(machine):
    record = proa("inspect", machine).json[0]
    network = record["NetworkSettings"]["Networks"]["proa"]
    assert inside(machine, "hostname").out == "web\n"
    assert inside(machine, "cat", "/root/said").out == "web was here\n"
    assert proa("exec", "-u", "me", machine, "sh", "-c", "id -un; sudo -n id -un || id -Gn").lines[0] == "me"
    assert inside(machine, "cat", "/home/me/.ssh/authorized_keys").out.startswith("ssh-ed25519 ")
    addresses = inside(machine, "ip", "-o", "-4", "addr", "show", "dev", "eth0").out
    assert f"{network['IPAddress']}/{network['IPPrefixLen']}" in addresses
    assert f"default via {network['Gateway']}" in inside(machine, "ip", "route").out
    resolver = inside(machine, "resolvectl", "status", "eth0").out
    assert "10.1.2.3" in resolver and "example.net" in resolver and network["Gateway"] not in resolver, resolver
    assert inside(machine, "getent", "hosts", "db").lines[0].split() == ["10.9.9.9", "db"]
    assert int(inside(machine, "sh", "-c", "df --output=size -k / | tail -1").out) > 4_500_000, "the root has grown"
    assert inside(machine, "test", "-d", "/sys/firmware/efi", check=False).rc != 0


def test_secure_boot(image):
    """Debian's signed shim, GRUB and kernel start by the keys that are built into the firmware."""
    name = "sealed"
    proa("run", "-d", "--name", name, "-m", "1g", "--firmware", "uefi", "--secure-boot", image, timeout=120)
    try:
        wait_for_agent(name)
        assert inside(name, "test", "-d", "/sys/firmware/efi", check=False).rc == 0
        assert "enabled" in inside(name, "mokutil", "--sb-state").out
    finally:
        proa("rm", "-f", name, check=False)


def address_of(name):
    return proa("inspect", name).json[0]["NetworkSettings"]["Networks"]["proa"]["IPAddress"]


def ssh(key, name, *words):
    return ["ssh", "-i", key, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "LogLevel=ERROR", f"me@{address_of(name)}", *words]


def test_the_key_opens_the_door(machine, key):
    done = subprocess.run(ssh(key, machine, "hostname"), stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=120)
    assert done.stdout == "web\n", done.stderr


def test_through_the_agent(machine, tmp_path):
    data = os.urandom(1_000_000)
    (tmp_path / "f").write_bytes(data)
    proa("cp", tmp_path / "f", f"{machine}:/root/f")
    proa("cp", f"{machine}:/root/f", tmp_path / "g")
    assert (tmp_path / "g").read_bytes() == data
    assert "systemd" in proa("top", machine).out
    record = proa("inspect", machine).json[0]
    guest = record["Guest"]
    assert guest["agent"] == "answers" and guest["system"]["id"] == "debian"
    address = record["NetworkSettings"]["Networks"]["proa"]["IPAddress"]
    assert any(a.startswith(address + "/") for i in guest["interfaces"] for a in i["addresses"])


def sql(name, text, *place, **kw):
    return proa(*place, "exec", "-u", "postgres", name, "psql", "-qAtc", text, **kw)


def rows(name, *place):
    """What the database has: every number once, from 1 on."""
    until(lambda: sql(name, "SELECT 1", *place, check=False).out == "1\n", timeout=BOOT_SECONDS)
    found = [int(n) for n in sql(name, "SELECT n FROM log ORDER BY n", *place).lines]
    assert found == list(range(1, len(found) + 1))
    assert "invalid" not in sql(name, "SELECT count(*) FROM log; REINDEX TABLE log;", *place).err
    return len(found)


class Writer:
    """A session that commits one number after the other. What we have been told of is acknowledged: there may be more."""

    ENDLESS = "i=%d; while :; do i=$((i+1)); echo \"INSERT INTO log VALUES ($i) RETURNING n;\"; done"

    def __init__(self, key, name, after):
        self.acknowledged = after
        script = f"({self.ENDLESS % after}) | psql -qAt postgres"
        self.process = subprocess.Popen(ssh(key, name, script), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            self.acknowledged = int(line)

    def goes_on(self):
        at = self.acknowledged
        until(lambda: self.acknowledged > at + 20, timeout=120)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.thread.join()
        return self.acknowledged


@pytest.fixture(scope="module")
def database(machine):
    inside(machine, "systemctl", "start", "postgresql@15-main", timeout=BOOT_SECONDS)
    sql(machine, "CREATE TABLE log(n int PRIMARY KEY); CREATE ROLE me SUPERUSER LOGIN")
    return machine


def marks(name):
    return sql(name, "SELECT relname FROM pg_class WHERE relname LIKE 'after_%' ORDER BY 1").lines


def identity_of(name):
    """Its names, its machine's id and its SSH server's key."""
    files = "/etc/hostname", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"
    return [*inside(name, "sed", "s/ root@.*//", *files).lines, address_of(name)]


def test_a_busy_database_comes_back(machine, database, key, figure):
    """Kept while it is written to: what was acknowledged by then is there after a restore, in place and in a clone."""
    name, writer, kept = database, Writer(key, database, 0), {}
    for snapshot, *more in (["disk"], ["memory", "--memory"]):
        writer.goes_on()
        kept[snapshot] = writer.acknowledged
        figure(f"{snapshot}, " + proa("snapshot", "create", "--name", snapshot, *more, name, timeout=300).err)
        sql(name, f"CREATE TABLE after_{snapshot}()")
    writer.goes_on()
    record = proa("snapshot", "inspect", "disk").json[0]
    assert record["Consistency"] == "frozen", record
    last = writer.end()
    assert rows(name) >= last and marks(name) == ["after_disk", "after_memory"]
    identity = identity_of(name)
    # With memory: the server goes on where it was, and nobody boots.
    boot = inside(name, "cat", "/proc/sys/kernel/random/boot_id").out
    proa("snapshot", "restore", "--force", name, "memory", timeout=300)
    assert rows(name) >= kept["memory"] and marks(name) == ["after_disk"]
    assert inside(name, "cat", "/proc/sys/kernel/random/boot_id").out == boot
    # Without: a clone boots, and its server recovers.
    proa("snapshot", "clone", "disk", "--name", "copy")
    try:
        proa("start", "copy", timeout=120)
        wait_for_cloud_init("copy")
        inside("copy", "systemctl", "start", "postgresql@15-main", timeout=BOOT_SECONDS)
        assert rows("copy") >= kept["disk"] and marks("copy") == []
        assert inside("copy", "hostname").out == "copy\n"
        addresses = inside("copy", "ip", "addr").out
        assert address_of("copy") in addresses and address_of(name) not in addresses
        before = rows("copy")
        sql("copy", "INSERT INTO log SELECT max(n) + 1 FROM log")
        assert rows("copy") == before + 1
        assert identity_of(name) == identity
        assert not set(identity) & set(identity_of("copy"))
    finally:
        proa("rm", "-f", "copy", check=False)
    proa("snapshot", "rm", "disk", "memory")


class Mover(Writer):
    """The same, one statement after the other, wherever the machine is."""

    def __init__(self, name, *places):
        self.places, self.name, self.stop, self.longest = places, name, False, 0.0
        self.acknowledged = self.first = rows(name)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        last = time.monotonic()
        while not self.stop:
            for place in self.places:
                n = self.acknowledged + 1
                if sql(self.name, f"INSERT INTO log VALUES ({n}) ON CONFLICT DO NOTHING", *place, check=False).rc == 0:
                    self.longest, last = max(self.longest, time.monotonic() - last), time.monotonic()
                    self.acknowledged = n
                    break

    def goes_on(self):
        at = self.acknowledged
        until(lambda: self.acknowledged > at + 3, timeout=300)

    def end(self):
        self.stop = True
        self.thread.join()
        return self.acknowledged


def test_it_moves_while_a_client_writes(machine, database, figure):
    """To a second engine root and back: no acknowledged row is lost."""
    name, there = database, STATE + "/second"
    proa("--root", there, "import", image_file(), "cloud", timeout=300)
    writer = Mover(name, [], ["--root", there])
    writer.goes_on()
    for source, target in (([], there), (["--root", there], STATE)):
        moved = proa(*source, "migrate", "--to", target, name, timeout=300)
        writer.goes_on()
        figure(f"{moved.err.strip()}; the longest that the client waited: {writer.longest:.2f} s")
        writer.longest = 0.0
    last = writer.end()
    assert rows(name) >= last > writer.first
    proa("--root", there, "system", "prune", "-f", timeout=60)
    shutil.rmtree(there)


def test_clean_shutdown(machine):
    proa("stop", "-t", "300", machine, timeout=400)
    assert proa("inspect", machine).json[0]["State"]["ExitCode"] == 0
