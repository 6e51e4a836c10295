"""Fixtures of the integration tests; sandbox.py says where they run, leaks.py what is watched."""

import fcntl
import os
import subprocess
import sys
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import pytest  # noqa: E402

import archives  # noqa: E402
import leaks  # noqa: E402
import sandbox  # noqa: E402
from cli import BUILD, PROA, proa  # noqa: E402

taken = {}  # file of tests -> whether this session runs it
# What takes minutes comes first, so that no session is left with it at the end.
LONGEST = ["disk_machine", "hostile_disk", "parity", "cloud", "guest", "network_dhcp", "snapshot", "snapshot_disks", "rootless",
           "policy_names", "network_cards", "warm", "disk", "migrate", "spare", "hostile_guest", "policy_kinds", "machines",
           "oci_checkpoint", "policy_hosts", "vm_probe", "full_disk", "crash", "pull", "serve"]
FETCH_ALL = os.path.join(sandbox.TOP, "scripts/fetch-all")
FIGURES = os.path.join(BUILD, "tests/figures")
figures = []
KINDS = ["container", pytest.param("vm", marks=pytest.mark.vm)]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    config.addinivalue_line("markers", "vm: starts a machine")
    config.addinivalue_line("markers", "slow: takes more than a few seconds")
    config.addinivalue_line("markers", "leaky: the leak guard is told not to look (say why)")
    if config.option.collectonly or config.option.help:
        return
    config.option.basetemp = sandbox.SHORT + "/t"
    if not os.environ.get(sandbox.MARK):
        fetch(config)
        capture = config.pluginmanager.getplugin("capturemanager")
        if capture:
            capture.suspend_global_capture(in_=True)
        sys.stdout.flush()
        sandbox.enter(config.invocation_params.args)


def turn(item):
    kind = item.path.stem.removeprefix("test_")
    return LONGEST.index(kind) if kind in LONGEST else len(LONGEST)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if "vm_probe" in item.nodeid:
            item.add_marker("vm")
    items.sort(key=turn)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    """A file of tests is run by the session that takes it first (scripts/check); without others all are ours."""
    share = os.environ.get("PROA_TEST_SHARE")
    if share and item.path not in taken:
        try:
            os.close(os.open(os.path.join(share, item.path.name), os.O_CREAT | os.O_EXCL))
            taken[item.path] = True
        except FileExistsError:
            taken[item.path] = False
    return None if taken.get(item.path, True) else True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """A file of tests takes its disk images away: the next one counts what disks cost."""
    yield
    packs = os.path.join(sandbox.STATE, "disks")
    if (nextitem is None or nextitem.path != item.path) and os.path.isdir(packs) and os.listdir(packs):
        images = proa("images", "--filter", "kind=disk", "--format", "{{.Repository}}:{{.Tag}}").lines
        proa("rmi", "-f", *images, check=False)
        pytest.fail(f"disk images are left: {' '.join(images)}", pytrace=False)


@pytest.fixture
def figure(request):
    """Keeps what a test has measured where a reader finds it: at the end of the run, and in build/tests/figures."""
    def note(text):
        line = f"{request.node.nodeid.rpartition('/')[2]}: {text.strip()}"
        figures.append(line)
        os.makedirs(os.path.dirname(FIGURES), exist_ok=True)
        with open(FIGURES, "a") as f:
            f.write(line + "\n")
    return note


def pytest_terminal_summary(terminalreporter):
    for line in figures:
        terminalreporter.write_line(line)


def fetch(config):
    """What needs the real network: a Debian image, a kernel for machines and a Debian guest, cached on disk. scripts/check
    has begun to make all of it, and is not waited for."""
    if not os.path.exists(PROA):
        raise pytest.UsageError(f"{PROA} is not built")
    flags = ["--no-machines"] if "not vm" in config.getoption("-m") else []
    if os.environ.get("PROA_TEST_SHARE"):
        flags.append("--first")
    done = subprocess.run([FETCH_ALL, *flags], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise pytest.UsageError(done.stderr.strip())


@pytest.fixture(scope="session")
def fetched():
    """All of it is there."""
    with open(FETCH_ALL, "rb") as f:
        fcntl.flock(f, fcntl.LOCK_EX)


@pytest.fixture(scope="session", autouse=True)
def house(request):
    """The state directory, the images, and everything that is kept prepared."""
    sandbox.prepare()
    tmp_path_factory = request.getfixturevalue("tmp_path_factory")
    folder = tmp_path_factory.mktemp("images")
    rootfs = folder / "busybox.tar"
    rootfs.write_bytes(archives.busybox_tar())
    proa("import", rootfs, "busybox:latest", timeout=60)
    kernel = subprocess.run([os.path.join(sandbox.TOP, "scripts/fetch"), "--print", "kernel"], text=True,
                            capture_output=True, check=True).stdout.strip()
    subprocess.run([os.path.join(BUILD, "proa-kernel"), "--out", sandbox.STATE + "/cache/kernel", "--package", kernel],
                   check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=300)
    # What the first start of each kind prepares is there when the first snapshot is taken. A sanitized
    # guest is not static and cannot boot: `make asan` asks for no machine.
    machines = "not vm" not in request.config.getoption("-m")
    for kind in ([], ["--vm"]) if machines else ([],):
        proa("run", "--rm", *kind, "busybox", "true", timeout=120)
    proa("network", "create", "--ipv6", "first")  # switches IPv6 forwarding on
    proa("run", "--rm", "--network", "first", "busybox", "true")
    proa("network", "rm", "first")
    yield folder


@pytest.fixture(scope="session")
def busybox_layer(house):
    return (house / "busybox.tar").read_bytes()


@pytest.fixture(scope="session")
def web(house):
    """Debian with nginx; imported once."""
    tar = subprocess.run([os.path.join(sandbox.TOP, "scripts/fetch"), "--print", "web"], text=True,
                         capture_output=True, check=True).stdout.strip()
    proa("import", "--change", 'CMD ["nginx","-g","daemon off;"]', "--change", "EXPOSE 80", tar, "debian-web:latest",
         timeout=180)
    proa("run", "--rm", "debian-web", "true", timeout=60)
    return "debian-web"


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def flags(kind):
    """The flags that choose the kind."""
    return ["--vm"] if kind == "vm" else []


@pytest.fixture
def name(request):
    """A fresh instance name; whatever has it at the end is removed."""
    chosen = "t-" + uuid.uuid4().hex[:10]
    yield chosen
    proa("rm", "-f", "-v", chosen, check=False, timeout=60)


@pytest.fixture(scope="module", params=KINDS)
def box(request, house):
    """One long-running instance of each kind, shared by the tests of a module that only look at it."""
    chosen = f"box-{request.param}-{uuid.uuid4().hex[:6]}"
    kind = ["--vm"] if request.param == "vm" else []
    proa("run", "-d", *kind, "--name", chosen, "-e", "SHARED=yes", "-l", "role=box", "busybox", "sleep", "100000",
         timeout=120)
    yield chosen
    proa("rm", "-f", chosen, timeout=60)


@pytest.fixture(autouse=True)
def leak_guard(request, house):
    """Nothing may be there after a test that was not there before it. Set up first, checked last."""
    if request.node.get_closest_marker("leaky"):
        yield
        return
    for shared in ("box", "web", "town", "twins", "spoofers", "outside", "village"):  # made before the snapshot when a test uses them
        if shared in request.fixturenames:
            request.getfixturevalue(shared)
    before = leaks.snapshot()
    yield
    extra, gone = leaks.settled(before)
    if extra or gone:
        sweep()
        pytest.fail("leaked:\n  " + "\n  ".join(extra) + ("\nmissing:\n  " + "\n  ".join(gone) if gone else ""),
                    pytrace=False)


def sweep():
    """After a leak: the next test starts from as clean a place as can be had."""
    names = proa("ps", "-aq", "--no-trunc", check=False).lines
    shared = [n for n in names if not proa("inspect", n, check=False).out.count('"role": "box"')]
    if shared:
        proa("rm", "-f", *shared, check=False, timeout=120)
