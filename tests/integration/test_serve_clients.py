"""`proa registry serve` and the clients that people use: Podman, skopeo, Docker, curl."""

import io
import json
import os
import subprocess
import tarfile

import pytest

import archives
from cli import command
from oci_clients import Docker, Podman
from registry_server import Registry, Store, digest


def tree():
    """Something of everything that a layer can hold."""
    tar = archives.busybox_tree()
    same = dict(mode=0o640, uid=1000, gid=2000, mtime=1234567890)
    tar.dir("t").add("t/plain", "plain\n", **same).hardlink("t/hard", "t/plain", **same)
    tar.symlink("t/soft", "plain").add("t/suid", "x", mode=0o4755)
    tar.add("t/" + "n" * 200, "long\n").add("t/capable", "x", pax={"SCHILY.xattr.user.colour": "green"})
    tar.add("t/large", os.urandom(1 << 20) * 3).add("t/empty", "")
    return tar.bytes()


@pytest.fixture(scope="module")
def store():
    made = Store()
    made("load", input=archives.docker_archive([tree(), archives.Tar().add("second", "2\n").bytes()], name="local/image:1",
                                               Env=["PATH=/bin"], Cmd=["cat", "/second"]))
    yield made
    made.close()


@pytest.fixture(scope="module", params=[Podman, Docker], ids=["podman", "docker"])
def client(request, house):
    made = request.param()
    yield made
    made.close()


@pytest.fixture
def plain(client):
    """Docker takes a registry on loopback without TLS as it is, Podman has to be told."""
    return ["--tls-verify=false"] if client.name == "podman" else []


def serve_for(client, store, *options):
    return Registry(store, *options, listen="127.0.0.1:5000", prefix=client.inside())


HERE = "127.0.0.1:5000"


def test_pull_what_the_store_has(client, store, plain):
    with serve_for(client, store):
        client("pull", *plain, f"{HERE}/local/image:1", timeout=120)
    assert client("run", "--rm", "--network", "none", f"{HERE}/local/image:1", timeout=60).out == "2\n"
    listing = client("run", "--rm", "--network", "none", f"{HERE}/local/image:1", "sh", "-c",
                     "stat -c '%a %u:%g %h %Y' /t/plain; stat -c %a /t/suid; cat /t/soft; ls /t | wc -l").out
    assert listing == "640 1000:2000 2 1234567890\n4755\nplain\n8\n"
    client("rmi", "-f", f"{HERE}/local/image:1")


def test_push_pull_and_run_here(client, store, plain):
    client("load", "-i", client.archive)
    name = f"{HERE}/pushed/by-{client.name}:1"
    client("tag", "localhost/tiny:1", name)
    with serve_for(client, store, "--push"):
        client("push", *plain, name, timeout=120)
        client("rmi", name)
        client("pull", *plain, name, timeout=120)
        assert client("run", "--rm", "--network", "none", name, "echo", "back").out == "back\n"
        client("rmi", name)
    assert store("run", "--rm", "--network", "none", f"pushed/by-{client.name}:1", "echo", "here", timeout=60).out == "here\n"
    store("rmi", f"pushed/by-{client.name}:1")
    store("system", "prune", "-f")


def test_login(client, store, plain, tmp_path):
    word = subprocess.run(["openssl", "passwd", "-6", "secret"], capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "users").write_text(f"me:{word}:pull\n")
    (tmp_path / "auth.json").write_text("{}")  # Podman wants it to be there
    home = {"HOME": str(tmp_path), "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    with serve_for(client, store, "--push", "--users", str(tmp_path / "users")):
        assert client("pull", *plain, f"{HERE}/local/image:1", check=False, env=home, timeout=60).rc != 0
        assert client("login", *plain, "-u", "me", "--password-stdin", HERE, input="wrong", check=False, env=home).rc != 0
        client("login", *plain, "-u", "me", "--password-stdin", HERE, input="secret", env=home)
        client("pull", *plain, f"{HERE}/local/image:1", env=home, timeout=120)
        client("tag", f"{HERE}/local/image:1", f"{HERE}/not/allowed:1")
        assert client("push", *plain, f"{HERE}/not/allowed:1", check=False, env=home, timeout=60).rc != 0
    client("rmi", "-f", f"{HERE}/local/image:1", f"{HERE}/not/allowed:1")


def test_some_without_a_name(client, store, plain, tmp_path):
    """Everybody pulls, and whoever has logged in pushes: clients get their tokens."""
    word = subprocess.run(["openssl", "passwd", "-6", "secret"], capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "users").write_text(f"me:{word}\n")
    (tmp_path / "auth.json").write_text("{}")  # Podman wants it to be there
    home = {"HOME": str(tmp_path), "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    name = f"{HERE}/pushed/token-{client.name}:1"
    with serve_for(client, store, "--push", "--users", str(tmp_path / "users"), "--anonymous"):
        client("pull", *plain, f"{HERE}/local/image:1", env=home, timeout=120)
        client("tag", f"{HERE}/local/image:1", name)
        assert client("push", *plain, name, check=False, env=home, timeout=60).rc != 0
        client("login", *plain, "-u", "me", "--password-stdin", HERE, input="secret", env=home)
        client("push", *plain, name, env=home, timeout=120)
    client("rmi", "-f", f"{HERE}/local/image:1", name)
    store("rmi", f"pushed/token-{client.name}:1")


@pytest.fixture
def server(store):
    with Registry(store, "--push", "--delete") as made:
        yield made


def skopeo(*args, **kw):
    return command(["skopeo", "--insecure-policy", *args], timeout=120, **kw)


def test_skopeo(server, store, tmp_path):
    there = f"docker://{server.address}"
    skopeo("copy", "--src-tls-verify=false", f"{there}/local/image:1", f"oci:{tmp_path}/layout:1")
    skopeo("copy", "--dest-tls-verify=false", f"oci:{tmp_path}/layout:1", f"{there}/skopeo/copy:1")
    skopeo("copy", "--dest-tls-verify=false", "--format", "v2s2", f"oci:{tmp_path}/layout:1", f"{there}/skopeo/copy:v2s2")
    assert json.loads(skopeo("list-tags", "--tls-verify=false", f"{there}/skopeo/copy").out)["Tags"] == ["1", "v2s2"]
    for tag in ("1", "v2s2"):
        seen = json.loads(skopeo("inspect", "--tls-verify=false", "--config", f"{there}/skopeo/copy:{tag}").out)
        assert seen["config"]["Cmd"] == ["cat", "/second"]
        assert store("run", "--rm", "--network", "none", f"skopeo/copy:{tag}", timeout=60).out == "2\n"
        skopeo("delete", "--tls-verify=false", f"{there}/skopeo/copy:{tag}")
    assert not store("images", "-q", "skopeo/copy").lines
    store("system", "prune", "-f")


def test_from_one_host_to_another(server, store, tmp_path):
    """Proa's own client: pulled there, sent back under another name, and run at both ends."""
    other = Store()
    flags = ["--tls-verify=false", "--authfile", tmp_path / "auth"]
    name = f"{server.address}/local/image:1"
    try:
        other("pull", *flags, name, timeout=120)
        assert other("run", "--rm", "--network", "none", name, timeout=60).out == "2\n"
        for how in ("gzip", "zstd"):
            other("push", *flags, "--compression", how, name, f"{server.address}/back/again:{how}", timeout=120)
            assert store("run", "--rm", "--network", "none", f"back/again:{how}", timeout=60).out == "2\n"
        assert other("image", "tags", *flags, f"{server.address}/back/again").lines == ["gzip", "zstd"]
        assert store("fsck").rc == other("fsck").rc == 0
    finally:
        other.close()
    store("rmi", "back/again:gzip", "back/again:zstd")
    store("registry", "rm", "back/again")
    store("system", "prune", "-f")


def test_the_layers_are_the_tars_that_came(server, store):
    """Byte for byte: what the manifest says can be checked by anybody."""
    manifest = server.get("/v2/local/image/manifests/1").json
    for layer in manifest["layers"]:
        data = server.get(f"/v2/local/image/blobs/{layer['digest']}").body
        assert digest(data) == layer["digest"] and len(data) == layer["size"]
        head = server.head(f"/v2/local/image/blobs/{layer['digest']}")
        assert head.headers["Content-Length"] == str(layer["size"])
    first = manifest["layers"][0]
    whole = server.get(f"/v2/local/image/blobs/{first['digest']}").body
    part = server.get(f"/v2/local/image/blobs/{first['digest']}", Range="bytes=1000000-1999999")
    assert part.status == 206 and part.body == whole[1000000:2000000]
    assert "t/plain" in tarfile.open(fileobj=io.BytesIO(whole)).getnames()
    config = server.get(f"/v2/local/image/blobs/{manifest['config']['digest']}")
    assert digest(config.body) == manifest["config"]["digest"]
    # The image cannot be torn apart from here, but its name can be taken.
    assert server.delete(f"/v2/local/image/blobs/{first['digest']}").code == "UNSUPPORTED"
    assert server.get(f"/v2/other/blobs/{first['digest']}").code == "BLOB_UNKNOWN"


def test_the_made_manifest_goes_with_its_image(server, store):
    store("tag", "local/image:1", "gone/soon:1")
    answer = server.get("/v2/gone/soon/manifests/1")
    by_digest = f"/v2/gone/soon/manifests/{answer.headers['Docker-Content-Digest']}"
    assert server.get(by_digest).body == answer.body
    assert server.delete(by_digest).status == 202
    assert server.get(by_digest).status == 404 and server.get("/v2/gone/soon/manifests/1").status == 404
    assert server.get("/v2/local/image/manifests/1").body == answer.body


def test_curl(server, tmp_path):
    (tmp_path / "blob").write_bytes(os.urandom(2 << 20))
    name = digest((tmp_path / "blob").read_bytes())
    base = f"http://{server.address}/v2/curl"
    code = ["curl", "-sS", "-o", str(tmp_path / "out"), "-w", "%{http_code}"]
    assert command([*code, "-X", "POST", "--data-binary", f"@{tmp_path}/blob", f"{base}/blobs/uploads/?digest={name}"]).out == "201"
    assert command([*code, f"{base}/blobs/{name}"]).out == "200"
    assert (tmp_path / "out").read_bytes() == (tmp_path / "blob").read_bytes()
    (tmp_path / "part").write_bytes((tmp_path / "blob").read_bytes()[:1000])
    command(["curl", "-sS", "-C", "-", "-o", str(tmp_path / "part"), f"{base}/blobs/{name}"])
    assert (tmp_path / "part").read_bytes() == (tmp_path / "blob").read_bytes()
