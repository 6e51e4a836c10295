"""Debian as clouds have it (tests/cloud/image), by both kinds of firmware: what cloud-init is told arrives, commands
reach in through the guest agent, and it shuts down cleanly. Each boots once for all its tests."""

import json
import os
import subprocess
import time

import pytest

from cli import proa
from sandbox import TOP

pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.leaky]  # the machine is there for the whole module
BOOT_SECONDS = 900  # emulated, on a busy host


def inside(name, *argv, **kw):
    return proa("exec", name, *argv, **kw)


@pytest.fixture(scope="module")
def key(house):
    path = house / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True, stdin=subprocess.DEVNULL)
    return path


@pytest.fixture(scope="module", params=[["--firmware", "bios"], ["--firmware", "uefi", "--secure-boot"]],
                ids=["bios", "secure-boot"])
def machine(request, house, key):
    script = house / "user-data"
    script.write_text("#!/bin/sh\necho \"$(hostname) was here\" >/root/said\n")
    image = subprocess.run([os.path.join(TOP, "scripts/fetch"), "--print", "cloud"], text=True, capture_output=True,
                           check=True).stdout.strip()
    if proa("image", "inspect", "cloud", check=False).rc:
        proa("import", image, "cloud", timeout=300)
    proa("run", "-d", "--name", "web", "-m", "1g", "--disk-size", "5g", "--cloud-user", "me", "--ssh-key", f"{key}.pub",
         "--user-data", script, *request.param, "cloud", timeout=120)
    try:
        wait_for_cloud_init("web")
        yield "web", request.param
    finally:
        proa("rm", "-f", "web", check=False)


def wait_for_cloud_init(name):
    end = time.monotonic() + BOOT_SECONDS
    while inside(name, "test", "-e", "/var/lib/cloud/instance/boot-finished", check=False).rc:
        assert time.monotonic() < end, proa("logs", "--tail", "30", name).out
        time.sleep(1)
    status = json.loads(inside(name, "cloud-init", "status", "--format", "json", timeout=120).out)
    assert status["status"] == "done" and status["errors"] == [], status


def test_what_cloud_init_was_told(machine):
    name, firmware = machine
    record = proa("inspect", name).json[0]
    network = record["NetworkSettings"]["Networks"]["proa"]
    assert inside(name, "hostname").out == "web\n"
    assert inside(name, "cat", "/root/said").out == "web was here\n"
    assert proa("exec", "-u", "me", name, "sh", "-c", "id -un; sudo -n id -un || id -Gn").lines[0] == "me"
    assert inside(name, "cat", "/home/me/.ssh/authorized_keys").out.startswith("ssh-ed25519 ")
    addresses = inside(name, "ip", "-o", "-4", "addr", "show", "dev", "eth0").out
    assert f"{network['IPAddress']}/{network['IPPrefixLen']}" in addresses
    assert f"default via {network['Gateway']}" in inside(name, "ip", "route").out
    assert int(inside(name, "sh", "-c", "df --output=size -k / | tail -1").out) > 4_500_000, "the root has grown"
    efi = inside(name, "test", "-d", "/sys/firmware/efi", check=False).rc == 0
    assert efi == ("uefi" in firmware)
    if "--secure-boot" in firmware:
        assert "enabled" in inside(name, "mokutil", "--sb-state").out


def test_the_key_opens_the_door(machine, key):
    name, _ = machine
    address = proa("inspect", name).json[0]["NetworkSettings"]["Networks"]["proa"]["IPAddress"]
    done = subprocess.run(["ssh", "-i", key, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o",
                           "UserKnownHostsFile=/dev/null", f"me@{address}", "hostname"], stdin=subprocess.DEVNULL,
                          text=True, capture_output=True, timeout=120)
    assert done.stdout == "web\n", done.stderr


def test_through_the_agent(machine, tmp_path):
    name, _ = machine
    data = os.urandom(1_000_000)
    (tmp_path / "f").write_bytes(data)
    proa("cp", tmp_path / "f", f"{name}:/root/f")
    proa("cp", f"{name}:/root/f", tmp_path / "g")
    assert (tmp_path / "g").read_bytes() == data
    assert "systemd" in proa("top", name).out
    record = proa("inspect", name).json[0]
    guest = record["Guest"]
    assert guest["agent"] == "answers" and guest["system"]["id"] == "debian"
    address = record["NetworkSettings"]["Networks"]["proa"]["IPAddress"]
    assert any(a.startswith(address + "/") for i in guest["interfaces"] for a in i["addresses"])


def test_clean_shutdown(machine):
    name, _ = machine
    proa("stop", "-t", "300", name, timeout=400)
    assert proa("inspect", name).json[0]["State"]["ExitCode"] == 0
