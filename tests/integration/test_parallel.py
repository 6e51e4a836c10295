"""Many commands at once: each is served, and nothing is left."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from cli import proa


@pytest.mark.slow
def test_a_hundred_containers_by_eight_callers(name):
    names = [f"{name}-{n}" for n in range(100)]
    with ThreadPoolExecutor(8) as pool:
        try:
            list(pool.map(lambda n: proa("run", "-d", "--name", n, "busybox", "sleep", "100000", timeout=120), names))
            running = [n for n in proa("ps", "--format", "{{.Names}}").lines if n in names]
            assert len(running) == 100
            addresses = list(pool.map(lambda n: proa("exec", n, "hostname", "-i").out.strip(), names))
            assert len(set(addresses)) == 100
        finally:
            list(pool.map(lambda n: proa("rm", "-f", n, check=False, timeout=120), names))
    assert not [n for n in proa("ps", "-a", "--format", "{{.Names}}").lines if n in names]


def test_one_name_is_given_once(name):
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: proa("create", "--name", name, "busybox", "true", check=False), range(8)))
    assert sorted(r.rc for r in done) == [0] + [125] * 7
    proa("rm", name)


def test_one_instance_started_by_many(name):
    proa("create", "--name", name, "busybox", "sleep", "1000")
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: proa("start", name, check=False), range(8)))
    assert all(r.rc == 0 for r in done), done
    assert len(proa("top", name).lines) == 2
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: proa("rm", "-f", name, check=False), range(8)))
    assert any(r.rc == 0 for r in done)


def test_the_same_image_imported_by_many(busybox_layer):
    import archives
    data = archives.docker_archive([busybox_layer, archives.Tar().add("par", "x").bytes()], "parallel:1")
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: proa("load", input=data, check=False), range(6)))
    assert all(r.rc == 0 for r in done), done
    proa("rmi", "parallel:1")


@pytest.mark.vm
@pytest.mark.slow
def test_four_machines_at_once(name):
    names = [f"{name}-{n}" for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        try:
            list(pool.map(lambda n: proa("run", "-d", "--vm", "--name", n, "busybox", "sleep", "1000", timeout=180), names))
            assert [proa("exec", n, "hostname").rc for n in names] == [0] * 4
        finally:
            list(pool.map(lambda n: proa("rm", "-f", n, check=False), names))
