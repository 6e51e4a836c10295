"""Buildah drives the runtime, for the steps of a build and for commands in a working container."""

import pytest

from oci_clients import IMAGE, RUNTIME, Buildah

RUN = ["run", "--runtime", RUNTIME, "--isolation", "oci", "--network", "none"]
BUILD = ["bud", "--runtime", RUNTIME, "--isolation", "oci", "--network", "none"]


@pytest.fixture(scope="module")
def buildah(house):
    client = Buildah()
    yield client
    client.close()


@pytest.fixture(scope="module")
def box(buildah):
    name = buildah("from", "--name", "box", IMAGE).out.strip()
    yield name
    buildah("rm", name)


def test_run(buildah, box):
    done = buildah(*RUN, box, "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
    assert (done.rc, done.out) == (3, "out\n") and done.err.startswith("err\n"), repr(done)
    assert buildah(*RUN, box, "--", "cat", input="typed\n").out == "typed\n"
    assert buildah(*RUN, "--user", "user", "--workingdir", "/etc", "-e", "A=b c", box, "--", "sh", "-c", 'id -u; pwd; echo "$A"').lines == \
        ["1000", "/etc", "b c"]


def test_run_of_what_is_not_there(buildah, box):
    for argv, say in (("nosuch", "executable file not found"), ("/no/such", "no such file or directory"),
                      ("/etc/not-executable", "permission denied")):
        done = buildah(*RUN, box, argv, check=False)
        assert done.rc == 1 and say in done.err, repr(done)


def test_run_volume(buildah, box, tmp_path):
    (tmp_path / "given").write_text("given\n")
    assert buildah(*RUN, "-v", f"{tmp_path}:/data", box, "--", "sh", "-c", "cat /data/given; echo back >/data/made").out == "given\n"
    assert (tmp_path / "made").read_text() == "back\n"
    done = buildah(*RUN, "-v", f"{tmp_path}:/data:ro", box, "--", "touch", "/data/x", check=False)
    assert done.rc == 1 and "Read-only file system" in done.err, repr(done)


def test_run_capabilities(buildah, box):
    caps = buildah(*RUN, "--cap-add", "CAP_NET_ADMIN", "--cap-drop", "CAP_CHOWN", box, "--", "grep", "CapEff", "/proc/self/status").out.split()[1]
    assert int(caps, 16) & 1 << 12 and not int(caps, 16) & 1, caps


def test_run_is_confined(buildah, box):
    out = buildah(*RUN, box, "--", "sh", "-c", "grep Seccomp: /proc/self/status; ls /proc | grep -c '^[0-9]*$'; ip -o link | wc -l").lines
    assert out[0].split() == ["Seccomp:", "2"] and int(out[1]) < 6 and out[2] == "1", out


def test_run_tty(buildah, box):
    done = buildah.terminal(*RUN, "-t", box, "--", "sh", "-c", "tty; until [ \"$(stty size)\" = '33 111' ]; do sleep 0.02; done; exit 4", size=(33, 111))
    assert done.rc == 4 and "/dev/pts/0" in done.out, repr(done)


def test_run_keeps_what_it_made(buildah):
    name = buildah("from", IMAGE).out.strip()
    try:
        buildah(*RUN, name, "--", "sh", "-c", "echo kept >/kept")
        assert buildah(*RUN, name, "--", "cat", "/kept").out == "kept\n"
        buildah("commit", "-q", name, "kept")
    finally:
        buildah("rm", name)
    name = buildah("from", "localhost/kept").out.strip()
    try:
        assert buildah(*RUN, name, "--", "cat", "/kept").out == "kept\n"
    finally:
        buildah("rm", name)
        buildah("rmi", "localhost/kept")


def test_run_user_namespace(buildah):
    name = buildah("from", "--userns-uid-map", "0:300000:1000", "--userns-gid-map", "0:300000:1000", IMAGE).out.strip()
    try:
        out = buildah(*RUN, name, "--", "sh", "-c", "cat /proc/self/uid_map; id -u").out.split()
        assert out == ["0", "300000", "1000", "0"]
    finally:
        buildah("rm", name)


def test_build(buildah, tmp_path):
    """Steps as different users, an argument, a second stage, a mount of a step's own."""
    (tmp_path / "given").write_text("given\n")
    (tmp_path / "Dockerfile").write_text(
        f"FROM {IMAGE} AS first\nARG WORD=none\nENV A=$WORD\nRUN echo \"$A $(id -u)\" >/built\n"
        f"FROM {IMAGE}\nCOPY --from=first /built /built\nUSER user\nWORKDIR /home/user\n"
        "RUN --mount=type=bind,source=given,target=/tmp/given cat /tmp/given >made; id -un >>made\n"
        "RUN [\"sh\", \"-c\", \"cat /built made >all\"]\n")
    buildah(*BUILD, "--build-arg", "WORD=said", "-t", "built", tmp_path, timeout=120)
    name = buildah("from", "localhost/built").out.strip()
    try:
        assert buildah(*RUN, name, "--", "cat", "all").lines == ["said 0", "given", "user"]
    finally:
        buildah("rm", name)
        buildah("rmi", "localhost/built")


def test_build_limits(buildah, tmp_path):
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN ulimit -n; grep CapEff /proc/self/status; cat /proc/self/cgroup\n")
    out = buildah(*BUILD, "--no-cache", "--ulimit", "nofile=123:123", "--cap-drop", "all", tmp_path, timeout=120).out
    assert "\n123\n" in out and "CapEff:\t0000000000000000" in out, out


def test_failing_build(buildah, tmp_path):
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN exit 9\n")
    done = buildah(*BUILD, tmp_path, check=False, timeout=120)
    assert done.rc == 9 and "exit status 9" in done.err, repr(done)
