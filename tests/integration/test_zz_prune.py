"""Last of all: `proa system prune` takes away even what is kept prepared on purpose."""

import leaks
import pytest

from cli import proa, until


@pytest.mark.leaky  # it removes what the guard takes for granted
def test_system_prune_leaves_nothing(house):
    names = proa("ps", "-aq").lines
    if names:
        proa("rm", "-f", *names)
    r = proa("system", "prune", "-f", "-a", "--volumes", timeout=60)
    assert r.rc == 0
    until(lambda: not [l for l in leaks.links() if "proa" in l])  # the last machine's monitor has outlived its QEMU
    assert not [m for m in leaks.mounts() if "/run/proa" in m], list(leaks.mounts())
    until(lambda: not [p for p in leaks.processes() if any(w in p for w in ("dnsmasq", "proa-monitor", "proa-vm", "qemu"))])
    assert not list(leaks.cgroups())
    left = [f for f in leaks.files() if "/layers/" in f or "/instances/" in f or "/tmp/" in f]
    assert not left, left
    # And everything comes back by itself.
    assert proa("images", "-q").out == ""
