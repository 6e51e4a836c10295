"""The same Containerfiles built by Proa, by Buildah and by Docker (BuildKit and its classic builder): the files of
the images and what their configurations say are compared."""

import json

import pytest

import archives
from building import config, files, new_name, write
from cli import proa
from oci_clients import Buildah, Docker

BASE = "localhost/peer-base:1"

CONTEXT = {"f": ("F", 0o600), "sub/a": "A", "sub/deep/b": ("B", 0o755), "a b": "S", "sub/l": ("->", "../f"), "1.t": "1", "2.t": "2",
           ".dockerignore": "*.log\n!keep.log\nno", "x.log": "", "keep.log": "", "no/x": "", "sub/empty": 0o700}

CASES = {
    "copy": """COPY f /one
COPY f sub /in/
COPY sub /existing
COPY ["a b", "/sp ace/"]
COPY --chown=user:1 f /own/f
COPY *.t s?b /g/
WORKDIR /rel
COPY f .
COPY f x
COPY f /etc
COPY . /all
""",
    "run": """RUN echo hi >/etc/made && rm /etc/group && chown 1:2 /etc/passwd && ln /etc/made /etc/again && mkdir -m 1777 /d
RUN rm -r /home && mkdir /home && touch /home/new && chmod 4755 /etc/passwd
RUN ["sh", "-c", "echo exec >/exec"]
""",
    "variables": """ARG A=1
ARG B
ENV C=$A D="x ${A:-no} $" E='$A' F=a\\ b G=${B:+set}
RUN echo "$A/$B/$C/$D/$E/$F/$G" >/out
LABEL l=$C m="two words"
WORKDIR /w/$C
USER $A
EXPOSE $A 90/udp
VOLUME /v$A
""",
    "stages": """RUN echo 1 >/f && chown 3:4 /f && mkdir /d && ln -s /f /d/l
FROM {base} AS two
COPY --from=0 /f /
COPY --from=0 /d /e
ENTRYPOINT ["/x"]
CMD a b
""",
    "settings": """ENV A=1 B=2
ENV A 3 4
CMD ["x", "y"]
ENTRYPOINT z $A
STOPSIGNAL SIGUSR1
USER 1:2
HEALTHCHECK --interval=5s --retries=3 CMD x y
SHELL ["/bin/sh", "-ec"]
ONBUILD RUN true
MAINTAINER somebody
CMD q
""",
}
KEYS = ("Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "Labels", "OnBuild", "Shell", "StopSignal", "User", "Volumes", "WorkingDir")


def base_archive():
    tree = archives.busybox_tree()
    for folder in ("dev", "mnt", "proc", "run", "sys"):
        tree.dir(folder)
    for name in ("hosts", "hostname", "resolv.conf"):
        tree.add("etc/" + name, "")
    return archives.docker_archive([tree.bytes()], name=BASE, Env=["PATH=/bin:/usr/bin"], Cmd=["sh"])


@pytest.fixture(scope="module")
def base(house, tmp_path_factory):
    path = tmp_path_factory.mktemp("base") / "base.tar"
    path.write_bytes(base_archive())
    proa("load", "-i", path)
    files(BASE)  # its layer stays mounted
    yield path
    proa("rmi", "-f", BASE)


@pytest.fixture(scope="module")
def buildah(base):
    client = Buildah()
    client("pull", "-q", f"docker-archive:{base}")
    yield client
    client.close()


@pytest.fixture(scope="module")
def docker(base):
    client = Docker()
    client.command = ["/usr/bin/docker", *client.command[1:]]  # later ones leave BuildKit to a plugin
    client("load", "-i", base)
    for kit in "01":  # what the first build makes is kept
        client("build", "--network", "none", "-", input=f"FROM {BASE}\nRUN true", env={"DOCKER_BUILDKIT": kit})
    yield client
    client.close()


@pytest.fixture(autouse=True)
def nothing_kept(house, leak_guard):
    yield
    proa("builder", "prune", "-f")


def settings(image):
    """What matters of the configuration: empty is absent, a list of names is sorted."""
    found = {k: v for k, v in config(image)["config"].items() if k in KEYS and v}
    found.get("Labels", {}).pop("io.buildah.version", None)
    found["Env"] = sorted(found.get("Env", []))
    return {k: v for k, v in found.items() if v}


def tree(image):
    """Without what engines make for mounting: it differs between them, and is no work of a step."""
    skip = ("dev", "proc", "sys", "run", "v1", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab")  # v1: Buildah makes volumes
    return {p: e for p, e in files(image).items() if p.split("/")[0] not in skip and p not in skip}


def difference(ours, theirs):
    return json.dumps({k: (ours.get(k), theirs.get(k)) for k in sorted(set(ours) | set(theirs)) if ours.get(k) != theirs.get(k)}, indent=1)


def compare(case, tmp_path, build_theirs, skip_settings=()):
    folder = write(str(tmp_path / "context"), {**CONTEXT, "Dockerfile": f"FROM {BASE}\n" + CASES[case].replace("{base}", BASE)})
    ours, theirs, archive = new_name(), "localhost/" + new_name() + ":1", tmp_path / "theirs.tar"
    try:
        proa("build", "-t", ours, "--network", "none", folder)
        build_theirs(theirs, folder, archive)
        proa("load", "-i", archive)
        assert tree(ours) == tree(theirs), difference(tree(ours), tree(theirs))
        mine, other = ({k: v for k, v in settings(i).items() if k not in skip_settings} for i in (ours, theirs))
        assert mine == other, difference(mine, other)
    finally:
        proa("rmi", "-f", ours, check=False)
        proa("rmi", "-f", theirs, check=False)


@pytest.mark.parametrize("case", CASES)
def test_as_buildah(case, buildah, tmp_path):
    def build(name, folder, archive):
        buildah("bud", "--runtime", "runc", "--isolation", "oci", "--network", "none", "--format", "docker", "-t", name, folder, timeout=120)
        buildah("push", "-q", name, f"docker-archive:{archive}:{name}")
        buildah("rmi", "-f", name)
    # A CMD in shell form does not get the SHELL there.
    compare(case, tmp_path, build, skip_settings=("Cmd",) if case == "settings" else ())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kit", ["0", "1"], ids=["classic", "buildkit"])
def test_as_docker(case, kit, docker, tmp_path):
    def build(name, folder, archive):
        docker("build", "--network", "none", "-t", name, folder, env={"DOCKER_BUILDKIT": kit}, timeout=120)
        docker("save", "-o", archive, name)
        docker("rmi", "-f", name)
    compare(case, tmp_path, build)


def test_docker_runs_what_is_built(docker, tmp_path):
    """With its files, owners and settings."""
    ours = new_name()
    folder = write(str(tmp_path / "context"), {"f": "F", "Dockerfile": f"FROM {BASE}\nRUN echo built >/made; rm /etc/group\n"
                                               "COPY --chown=user:7 --chmod=640 f /x/\nENV A=1\nWORKDIR /x\nUSER user\n"
                                               "ENTRYPOINT [\"sh\", \"-c\"]\nCMD [\"cat /made f; ls -n f; pwd; echo $A; ls /etc/group\"]\n"})
    try:
        proa("build", "-t", ours, "--network", "none", folder)
        proa("save", "-o", tmp_path / "saved.tar", ours)
        docker("load", "-i", tmp_path / "saved.tar")
        done = docker("run", "--rm", "--network", "none", ours, check=False)
        assert done.out.startswith("built\nF-rw-r-----    1 1000     7 ") and done.out.endswith("/x\n1\n") and "/etc/group" in done.err, repr(done)
        docker("rmi", "-f", ours)
    finally:
        proa("rmi", "-f", ours)
