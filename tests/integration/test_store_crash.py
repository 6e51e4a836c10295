"""Two pulls, a build and a prune at once, each killed at some moment or not: fsck finds nothing, ever.

PROA_ROUNDS is how many rounds (15); a round's moments come from its number, so that one that failed can be run again.
"""

import os
import random
import time

import pytest

import archives
import registries
from cli import finish, proa, start

ROUNDS = int(os.environ.get("PROA_ROUNDS", "15"))
PLAIN = "--tls-verify=false"
BASE = archives.busybox_tree().add("etc/crash", "x").bytes()


@pytest.fixture(scope="module")
def registry(house, tmp_path_factory):
    with registries.Debian(tmp_path_factory.mktemp("registry")) as found:
        noise = random.Random(1).randbytes(3 << 20)
        shared = archives.Tar().add("shared", noise).bytes()
        for name in ("one", "two"):
            own = archives.Tar().add(name, noise[::-1] + name.encode()).bytes()
            found.fill(f"crash/{name}:1", [BASE, shared, own])
        yield found


@pytest.fixture(autouse=True)
def registry_first(registry):
    """docker-registry listens before the leak guard looks."""


@pytest.fixture
def context(tmp_path):
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Containerfile").write_text("FROM busybox\nARG round\nCOPY file /file\nRUN echo $round >/round\nCMD [\"cat\", \"/round\"]\n")
    return folder


def commands(registry, context, number):
    (context / "file").write_text(f"round {number}\n" * 1000)
    return [("pull", "-q", PLAIN, f"{registry.host}/crash/one:1"), ("pull", "-q", PLAIN, f"{registry.host}/crash/two:1"),
            ("build", "-q", "--build-arg", f"round={number}", "-t", "crash-built:1", str(context)),
            ("image", "prune", "--force")]


def run_round(registry, context, number):
    """All at once; each is killed after some time, or not."""
    chance = random.Random(number)
    begun = time.monotonic()
    running = []
    for words in commands(registry, context, number):
        running.append((start(*words), begun + chance.uniform(0, 0.8) if chance.random() < 0.6 else None))
    for process, moment in sorted(running, key=lambda pair: pair[1] or 0):
        if moment:
            time.sleep(max(0, moment - time.monotonic()))
            process.kill()
    return [finish(process, timeout=120) for process, _ in running]


def test_what_is_killed_leaves_a_whole_store(registry, context):
    names = [f"{registry.host}/crash/one:1", f"{registry.host}/crash/two:1", "crash-built:1"]
    try:
        for number in range(ROUNDS):
            done = run_round(registry, context, number)
            found = proa("fsck", timeout=120, check=False)
            assert found.rc == 0, (number, found, done)
            assert all(d.rc in (0, -9) for d in done), (number, done)
            if number % 3 == 0:
                proa("rmi", "-f", *names, check=False)
        # What was acknowledged, and what is asked for again, is there.
        for name in names[:2]:
            proa("pull", "-q", PLAIN, name, timeout=120)
        proa(*commands(registry, context, "last")[2], timeout=120)
        assert proa("run", "--rm", "crash-built:1", timeout=60).out == "last\n"
        assert [proa("run", "--rm", n, "ls", f"/{n.split('/')[-1][:3]}").rc for n in names[:2]] == [0, 0]
    finally:
        proa("rmi", "-f", *names, check=False)
        proa("image", "prune", "--force", check=False)
        proa("builder", "prune", "--force", check=False)
