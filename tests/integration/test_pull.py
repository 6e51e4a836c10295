"""Pulling: from Debian's docker-registry with everything that may stand around it, and from registries that lie."""

import glob
import json
import os
import shutil
import signal
import sqlite3
import time

import pytest

import archives
import registries
from cli import PATIENCE, command, finish, proa, refuse, start, until
from old_store import age
from sandbox import STATE

PLAIN = "--tls-verify=false"


BASE = archives.busybox_tree().add("etc/pulled", "x").bytes()  # no layer that the session's images have


def layers(*extra):
    return [BASE, *extra]


def one_file(name, data="x"):
    return archives.Tar().add(name, data).bytes()


def partial():
    return sorted(os.listdir(f"{STATE}/partial")) if os.path.isdir(f"{STATE}/partial") else []


def remove(*names):
    for name in names:
        proa("rmi", "-f", name, check=False)


@pytest.fixture(scope="module")
def debian(house, tmp_path_factory):
    with registries.Debian(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="module")
def certificates(house, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("certificates"))
    registries.make_certificates(folder)
    return folder


@pytest.fixture
def fake(leak_guard):
    with registries.Fake() as found:
        yield found


@pytest.fixture
def home(tmp_path):
    """A place for config.json, and the environment that names it."""
    return {"DOCKER_CONFIG": str(tmp_path / "docker"), "HOME": str(tmp_path)}


# Started before the guard looks: docker-registry listens.
@pytest.fixture(autouse=True)
def registry_first(debian, certificates):
    pass


def test_what_is_pulled_runs(debian, kind, flags):
    name = debian.fill("a/b:1", layers(one_file("hello", "from the registry\n")))
    try:
        done = proa("pull", PLAIN, name)
        assert done.out.startswith("sha256:") and len(done.lines) == 1
        assert "Status: Downloaded newer image" in done.err and "Digest: sha256:" in done.err
        assert proa("run", "--rm", *flags, name, "cat", "/hello", timeout=120).out == "from the registry\n"
        again = proa("pull", PLAIN, name)
        assert again.out == done.out and "up to date" in again.err
        shown = proa("image", "inspect", name).json[0]
        digest = done.err.split("Digest: ")[1].split()[0]
        assert shown["RepoDigests"] == [f"{debian.host}/a/b@{digest}"]
        assert proa("pull", "-q", PLAIN, f"{debian.host}/a/b@{digest}").out == done.out
        assert proa("run", "--rm", f"{debian.host}/a/b@{digest}", "true").rc == 0
        assert partial() == []
    finally:
        remove(name)


def test_run_pulls_what_is_not_there(debian, tmp_path):
    name = debian.fill("run/me:2", layers())
    try:
        assert proa("run", "--rm", PLAIN, name, "echo", "hi").out == "hi\n"
        remove(name)
        refuse("run", "--rm", "--pull", "never", name, "true", say="no such image")
        proa("run", "--rm", "--pull=always", PLAIN, name, "true")
        refuse("run", "--rm", "--pull=perhaps", name, "true", say="neither always, missing nor never")
        refuse("run", "--rm", "nowhere/near:1", "true", say=["docker.io/nowhere/near:1", "short-names"])
        config = tmp_path / "registries.json"
        config.write_text(json.dumps({"short-names": {"me": f"{debian.host}/run/me"},
                                      "registries": {debian.host: {"insecure": True}}}))
        conf = ["--registries-conf", str(config)]
        assert proa("run", "--rm", *conf, "me:2", "echo", "short").out == "short\n"
        remove(name)
        assert proa("run", "--rm", *conf, "me:2", "echo", "pulled").out == "pulled\n"
    finally:
        remove(name)


def test_tls_and_its_authorities(certificates, tmp_path, leak_guard):
    with registries.Debian(tmp_path, certificates=certificates) as secure:
        name = secure.fill("s/x:1", layers())
        refuse("pull", name, rc=1, say=["certificate is not trusted", "/etc/containers/certs.d/"])
        trusted = tmp_path / "trusted"
        trusted.mkdir()
        (trusted / "ca.crt").write_bytes(open(certificates + "/ca.crt", "rb").read())
        try:
            proa("pull", "--cert-dir", trusted, name)
            remove(name)
            proa("pull", PLAIN, name)
        finally:
            remove(name)


def test_a_client_certificate(certificates, tmp_path, leak_guard):
    with registries.Fake() as fake:
        import ssl
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{certificates}/server.crt", f"{certificates}/server.key")
        context.load_verify_locations(f"{certificates}/ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
        fake.socket = context.wrap_socket(fake.socket, server_side=True)
        name = fake.put(layers())
        folder = tmp_path / "certs"
        folder.mkdir()
        for source, target in (("ca.crt", "ca.crt"), ("client.crt", "me.cert"), ("client.key", "me.key")):
            (folder / target).write_bytes(open(f"{certificates}/{source}", "rb").read())
        try:
            proa("pull", "--cert-dir", folder, name)
            (folder / "me.cert").unlink()
            remove(name)
            refuse("pull", "--cert-dir", folder, name, rc=1)
        finally:
            remove(name)


def test_login_and_basic_credentials(tmp_path, home, leak_guard):
    with registries.Debian(tmp_path, user=("u", "p:w")) as locked:
        name = locked.fill("l/x:1", layers())
        refuse("pull", PLAIN, name, rc=1, env=home, say=["wants a user and a password", f"proa login {locked.host}"])
        login = ["login", PLAIN, "-u", "u", "--password-stdin", locked.host]
        refuse(*login, rc=1, env=home, input="wrong\n", say="refuses the credentials of u")
        assert not os.path.exists(home["DOCKER_CONFIG"])
        proa(*login, env=home, input="p:w\n")
        kept = json.load(open(home["DOCKER_CONFIG"] + "/config.json"))
        assert list(kept["auths"]) == [locked.host]
        assert os.stat(home["DOCKER_CONFIG"] + "/config.json").st_mode & 0o777 == 0o600
        try:
            proa("pull", PLAIN, name, env=home)
            # Docker's and skopeo's tools read the same file.
            command(["skopeo", "inspect", "--authfile", home["DOCKER_CONFIG"] + "/config.json", PLAIN, f"docker://{name}"])
        finally:
            remove(name)
        assert "Removed" in proa("logout", locked.host, env=home).err
        assert "Not logged in" in proa("logout", locked.host, env=home).err
        refuse("pull", PLAIN, name, rc=1, env=home, say="wants a user")
        proa("pull", PLAIN, "--creds", "u:p:w", name, env=home)
        remove(name)


HELPER = """#!/usr/bin/python3
import json, os, sys
place = os.environ["HOME"] + "/kept"
verb, given = sys.argv[1], sys.stdin.read()
if verb == "store":
    open(place, "w").write(given)
elif verb == "erase":
    os.unlink(place)
elif os.path.exists(place) and json.load(open(place))["ServerURL"] == given:
    print(open(place).read())
else:
    sys.exit("" if print("credentials not found in native keychain") else 1)
"""


def test_a_credential_helper_keeps_them(tmp_path, home, leak_guard):
    (tmp_path / "bin").mkdir()
    helper = tmp_path / "bin/docker-credential-test"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    env = {**home, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    os.mkdir(home["DOCKER_CONFIG"])
    config = home["DOCKER_CONFIG"] + "/config.json"
    with registries.Fake(user=("me", "hush")) as fake:
        open(config, "w").write(json.dumps({"credHelpers": {fake.host: "test"}, "other": [1]}))
        name = fake.put(layers())
        refuse("pull", PLAIN, name, rc=1, env=env, say="token server answers 401")
        proa("login", PLAIN, "-u", "me", "--password-stdin", fake.host, env=env, input="hush")
        assert json.load(open(config)) == {"credHelpers": {fake.host: "test"}, "other": [1]}
        assert json.load(open(tmp_path / "kept")) == {"ServerURL": fake.host, "Username": "me", "Secret": "hush"}
        try:
            proa("pull", PLAIN, name, env=env)
        finally:
            remove(name)
        proa("logout", fake.host, env=env)
        assert not os.path.exists(tmp_path / "kept")


def test_a_token_that_expires_is_got_again(tmp_path, leak_guard):
    with registries.Fake(user=("me", "hush")) as fake:
        name = fake.put(layers(one_file("a"), one_file("b")))
        blobs = []

        def expire(handler, path):
            if "/blobs/" in path and path not in blobs:
                blobs.append(path)
                fake.token = f"secret-token-{len(blobs) + 1}"
            return False
        fake.hook = expire
        try:
            proa("pull", PLAIN, "--creds", "me:hush", "--parallel", "1", name)
        finally:
            remove(name)
        assert len([p for _, p, _ in fake.requests if p.startswith("/token")]) >= 4


def test_credentials_stay_with_their_host(tmp_path, leak_guard):
    """A redirect elsewhere is followed without them, and so is nothing but GET."""
    with registries.Fake(user=("me", "hush")) as fake, registries.Fake() as other:
        name = fake.put(layers())
        other.blobs = fake.blobs

        def redirect(handler, path):
            if "/blobs/" in path and handler.authorized(path):
                handler.answer(307, Location=f"http://{other.host}{path}?signature=s3cret")
                return True
            return "/blobs/" in path
        fake.hook = redirect
        try:
            proa("pull", PLAIN, "--creds", "me:hush", name)
        finally:
            remove(name)
        assert other.requests and not [h for _, _, h in other.requests if "Authorization" in h]


def test_redirects_from_https_to_http_are_not_followed(certificates, tmp_path, leak_guard):
    import ssl
    with registries.Fake() as fake, registries.Fake() as other:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{certificates}/server.crt", f"{certificates}/server.key")
        fake.socket = context.wrap_socket(fake.socket, server_side=True)
        name = fake.put(layers())
        fake.hook = lambda h, path: "/blobs/" in path and not h.answer(307, Location=f"http://{other.host}{path}")
        refuse("pull", "--cert-dir", certificates_only(certificates, tmp_path), name, rc=1, say="from https to http")
        assert not other.requests


def certificates_only(certificates, tmp_path):
    folder = tmp_path / "only-ca"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(open(certificates + "/ca.crt", "rb").read())
    return folder


def test_an_index_and_its_platforms(debian, fake):
    here, there = layers(one_file("here")), layers(one_file("there"))
    fake.put(here, tag="amd64")
    fake.put(there, tag="arm64", architecture="arm64")
    entries = [{"mediaType": registries.MANIFEST, "digest": archives.digest(fake.manifests[a][1]), "size": len(fake.manifests[a][1]),
                "platform": {"os": "linux", "architecture": a}} for a in ("arm64", "amd64")]
    name = fake.put_document({"schemaVersion": 2, "mediaType": registries.INDEX, "manifests": entries}, type=registries.INDEX)
    try:
        proa("pull", PLAIN, name)
        assert proa("run", "--rm", name, "ls", "/here").rc == 0
        refuse("pull", PLAIN, "--platform", "linux/s390x", name, rc=1, say=["no image for linux/s390x", "linux/arm64"])
        proa("pull", PLAIN, "--platform", "linux/arm64", name)
        assert proa("image", "inspect", name).json[0]["Architecture"] == "arm64"
        refuse("pull", "--platform", "linux", name, rc=1, say="OS/ARCHITECTURE")
    finally:
        for image in set(proa("images", "-q", "--no-trunc").lines):
            if proa("image", "inspect", image).json[0]["RepoDigests"]:
                remove(image)


def test_tags(debian, fake):
    for tag in ("one", "two"):
        debian.fill(f"tagged:{tag}", layers())
    assert sorted(proa("image", "tags", PLAIN, f"{debian.host}/tagged").lines) == ["one", "two"]
    refuse("image", "tags", PLAIN, f"{debian.host}/nothing", rc=1, say="404")
    pages = {"": (["a", "b"], "/v2/t/x/tags/list?n=2&last=b"), "b": (["c"], None)}

    def list_tags(handler, path):
        if not path.endswith("/tags/list"):
            return False
        tags, more = pages["b" if "last=b" in handler.path else ""]
        headers = {"Link": f'<{more}>; rel="next"'} if more else {}
        handler.answer(200, json.dumps({"name": "t/x", "tags": tags}).encode(), **headers)
        return True
    fake.hook = list_tags
    assert proa("image", "tags", PLAIN, f"{fake.host}/t/x").lines == ["a", "b", "c"]
    pages["b"] = (["c"], "/v2/t/x/tags/list?n=2&last=b")
    refuse("image", "tags", PLAIN, f"{fake.host}/t/x", rc=1, say="does not end")


def test_all_tags(debian):
    """One image for each; a tag that holds none stops nothing, and is told."""
    names = [debian.fill(f"all/tags:{tag}", layers(one_file(tag))) for tag in ("a", "b")]
    repository = names[0].rsplit(":", 1)[0]
    try:
        done = proa("pull", "-q", "-a", PLAIN, repository)
        assert len(set(done.lines)) == 2 and set(names) <= set(proa("images", "--format", "{{.Repository}}:{{.Tag}}").lines)
        refuse("pull", "-a", PLAIN, names[0], rc=1, say="--all-tags")
        done = proa("pull", "-q", "-a", PLAIN, "--platform", "linux/riscv64", repository, check=False)
        assert done.rc == 1 and "2 of 2 tags were not pulled" in done.err, repr(done)
    finally:
        remove(*names)


def test_a_mirror_is_tried_first_and_the_registry_after_it(tmp_path, leak_guard):
    with registries.Fake() as mirror, registries.Fake() as origin:
        name = origin.put(layers())
        mirror.put(layers())
        config = tmp_path / "registries.json"
        config.write_text(json.dumps({"registries": {origin.host: {"insecure": True, "mirrors": [f"http://{mirror.host}"]}}}))
        pull = ["pull", "--registries-conf", config, name]
        try:
            proa(*pull)
            assert not origin.requests and mirror.requests
            remove(name)
            mirror.manifests.clear()
            proa(*pull)
            assert origin.requests
        finally:
            remove(name)


def test_json_progress(fake):
    name = fake.put(layers(one_file("a", os.urandom(3 << 20))))
    try:
        lines = [json.loads(line) for line in proa("pull", PLAIN, "--progress", "json", name).lines]
        assert lines[-1]["id"].startswith("sha256:") and lines[-1]["changed"]
        states = {line["state"] for line in lines[:-1]}
        assert "downloading" in states and "done" in states
    finally:
        remove(name)


# --- going on where it was ---

def big(seed=0, megabytes=24):
    import random
    return one_file("big", random.Random(seed).randbytes(megabytes << 20))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_pull_goes_on(fake, how):
    name = fake.put(layers(big()))
    key = max(fake.blobs, key=lambda k: len(fake.blobs[k]))
    fake.rate = 8 << 20
    running = start("pull", PLAIN, name)
    until(lambda: fake.sent.get(key, 0) > 6 << 20)
    os.kill(running.pid, how)
    assert finish(running).rc != 0
    until(lambda: not [p for p in os.listdir("/proc") if p.isdigit() and is_helper(p)])
    kept = os.stat(f"{STATE}/partial/{key[7:]}").st_size
    assert kept > 4 << 20
    refuse("run", "--rm", "--pull", "never", name, "true", say="no such image")
    until(lambda: fake.sending == 0)  # the registry has noticed, and counts no more
    before = fake.sent[key]
    fake.rate = None
    try:
        proa("pull", PLAIN, name)
        assert fake.sent[key] - before == len(fake.blobs[key]) - kept
        assert proa("run", "--rm", name, "ls", "/big").rc == 0
        assert partial() == []
    finally:
        remove(name)


def is_helper(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return b"proa-registry" in f.read(300)
    except OSError:
        return False


def test_what_was_kept_is_not_believed(fake):
    name = fake.put(layers(big(1, 4)))
    key = max(fake.blobs, key=lambda k: len(fake.blobs[k]))
    os.makedirs(f"{STATE}/partial", exist_ok=True)
    with open(f"{STATE}/partial/{key[7:]}", "wb") as f:
        f.write(fake.blobs[key][:1 << 20] + b"!" * 100)
    try:
        proa("pull", PLAIN, name)
        assert proa("run", "--rm", name, "ls", "/big").rc == 0
    finally:
        remove(name)


def test_two_pulls_share_a_download(fake):
    name = fake.put(layers(big(2)))
    fake.rate = 16 << 20
    both = [start("pull", "-q", PLAIN, name) for _ in range(2)]
    done = [finish(p) for p in both]
    try:
        assert [d.rc for d in done] == [0, 0], done
        assert done[0].out == done[1].out
        for key, data in fake.blobs.items():
            if len(data) > 1 << 20:
                assert fake.sent[key] == len(data)
        assert partial() == []
    finally:
        remove(name)


def test_a_connection_that_is_dropped_is_taken_up_again(fake):
    name = fake.put(layers(big(3, 8)))
    key = max(fake.blobs, key=lambda k: len(fake.blobs[k]))
    drops = []

    def drop(handler, path):
        if not path.endswith(key) or len(drops) >= 3:
            return False
        start_at = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        drops.append(start_at)
        data = fake.blobs[key][start_at:]
        handler.send_response(206 if start_at else 200)
        if start_at:
            handler.send_header("Content-Range", f"bytes {start_at}-{len(fake.blobs[key]) - 1}/{len(fake.blobs[key])}")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:2 << 20])
        handler.wfile.flush()
        handler.connection.shutdown(2)
        handler.close_connection = True
        return True
    fake.hook = drop
    try:
        proa("pull", PLAIN, name)
        assert drops[0] == 0 and drops == sorted(set(drops))
    finally:
        remove(name)


def test_busy_registries_are_waited_for(fake):
    name = fake.put(layers())
    answers = [(503, {}), (429, {"Retry_After": "1"}), (502, {})]
    times = []

    def busy(handler, path):
        if "/manifests/" not in path or not answers:
            return False
        times.append(time.monotonic())
        status, headers = answers.pop(0)
        handler.complain(status, "TOOMANYREQUESTS", **headers)
        return True
    fake.hook = busy
    try:
        proa("pull", PLAIN, name)
        assert len(times) == 3 and times[2] - times[1] >= 0.9
    finally:
        remove(name)


# --- registries that lie ---

def store_rows():
    db = sqlite3.connect(f"file:{STATE}/proa.db?mode=ro", uri=True)
    try:
        return {t: db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("image", "layer", "image_name", "image_digest")}
    finally:
        db.close()


def hostile(fake, name, say, rc=1, timeout=60, options=()):
    """One clear line, soon, and an unchanged store."""
    before = store_rows()
    refuse("pull", PLAIN, *options, name, rc=rc, say=say, timeout=timeout)
    assert store_rows() == before
    assert not glob.glob(f"{STATE}/tmp/*")
    proa("image", "prune", "-f")
    assert partial() == []


def swap_blob(fake, change):
    key = max(fake.blobs, key=lambda k: len(fake.blobs[k]))
    fake.blobs[key] = change(fake.blobs[key])


def test_a_blob_of_another_digest(fake):
    name = fake.put(layers(), compress=False)
    swap_blob(fake, lambda data: data[:1000] + bytes([data[1000] ^ 1]) + data[1001:])
    hostile(fake, name, say="layer sha256")


@pytest.mark.parametrize("change, say", [(lambda d: d[:-10], "offers"), (lambda d: d + b"0" * 10, "offers")])
def test_a_blob_of_another_length(fake, change, say):
    name = fake.put(layers())
    swap_blob(fake, change)
    hostile(fake, name, say=say)


def endless(handler, first=b""):
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(first)
    try:
        while True:
            handler.wfile.write(b"\0" * 65536)
    except OSError:
        handler.close_connection = True
    return True


@pytest.mark.parametrize("where, say", [("/blobs/", "more than the announced"), ("/manifests/", "more than the allowed")])
def test_an_endless_body(fake, where, say):
    name = fake.put(layers())
    fake.hook = lambda h, path: where in path and endless(h)
    hostile(fake, name, say=say)


def test_endless_headers(fake):
    name = fake.put(layers())

    def headers(handler, path):
        try:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                handler.wfile.write(b"X-Y: " + b"z" * 1000 + b"\r\n")
        except OSError:
            handler.close_connection = True
        return True
    fake.hook = headers
    hostile(fake, name, say="headers")


def test_a_complaint_that_does_not_end(fake):
    name = fake.put(layers())

    def complain(handler, path):
        handler.send_response(404)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"\x1b[31mno" * 8192)
        except OSError:
            handler.close_connection = True
        return True
    fake.hook = complain
    hostile(fake, name, say="404")


def test_redirects_in_a_circle(fake):
    name = fake.put(layers())
    fake.hook = lambda h, path: "/blobs/" in path and not h.answer(302, Location=path)
    hostile(fake, name, say="redirects more than")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "gopher://x/", "ftp://127.0.0.1/x", "//", "http://"])
def test_redirects_to_what_is_no_web_server(fake, target):
    name = fake.put(layers())
    fake.hook = lambda h, path: "/blobs/" in path and not h.answer(302, Location=target)
    hostile(fake, name, say="address")


def test_a_registry_that_stays_busy(fake):
    name = fake.put(layers())
    fake.hook = lambda h, path: not h.complain(500, "UNKNOWN")
    hostile(fake, name, say=["answers 500", "tried 5 times"])
    fake.hook = lambda h, path: not h.complain(429, "TOOMANYREQUESTS", Retry_After="3600")
    hostile(fake, name, say=["answers 429", "wait for 3600 seconds"])


def test_a_slow_loris(fake, tmp_path):
    name = fake.put(layers())
    config = tmp_path / "registries.json"
    config.write_text(json.dumps({"registries": {fake.host: {"insecure": True, "stall": "1s"}}}))

    def drip(handler, path):
        if "/blobs/" not in path:
            return False
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x")
                time.sleep(0.2)
        except OSError:
            handler.close_connection = True
        return True
    fake.hook = drip
    hostile(fake, name, say="too slow", options=["--registries-conf", config])


def document(fake, **change):
    found = json.loads(fake.manifests["1"][1])
    found.update(change)
    return found


def test_manifests_that_are_too_much(fake):
    fake.put(layers())
    entry = document(fake)["layers"][0]
    bomb = json.dumps(document(fake, layers=[entry] * 10000)).encode()
    hostile(fake, fake.put_document(bomb, tag="many"), say="10000 layers are too many")
    deep = b'{"schemaVersion":2,"layers":' + b"[" * 100000 + b"]" * 100000 + b"}"
    hostile(fake, fake.put_document(deep, tag="deep"), say="json")
    large = json.dumps(document(fake, annotations={"a": "x" * (5 << 20)})).encode()
    hostile(fake, fake.put_document(large, tag="large"), say="more than the allowed")


def test_manifests_that_contradict_themselves(fake):
    fake.put(layers(one_file("a")))
    good = document(fake)
    both = {**good, "manifests": []}
    hostile(fake, fake.put_document(both, tag="both"), say="layers and manifests")
    hostile(fake, fake.put_document(good, tag="type", type=registries.INDEX), say="claims to be")
    hostile(fake, fake.put_document({**good, "layers": good["layers"][:1]}, tag="few"), say="2 layers, the manifest 1")
    twice = {**good, "layers": [good["layers"][0]] * 2}
    hostile(fake, fake.put_document(twice, tag="twice"), say="listed twice with different contents")
    swapped = {**good, "layers": good["layers"][::-1]}
    hostile(fake, fake.put_document(swapped, tag="swapped"), say="unpacked it should be")
    hostile(fake, fake.put_document(b'{"schemaVersion":2,"schemaVersion":2}', tag="keys"), say="json")
    config = {**good["config"], "size": good["config"]["size"] + 1}
    hostile(fake, fake.put_document({**good, "config": config}, tag="config"), say="offers")
    path = {**good, "config": {**good["config"], "digest": "sha256:../../../../etc/passwd"}}
    hostile(fake, fake.put_document(path, tag="path"), say="digest")


def test_a_manifest_of_another_digest(fake):
    fake.put(layers())
    wanted = archives.digest(b"something else")
    fake.manifests[wanted] = fake.manifests["1"]
    hostile(fake, f"{fake.host}/t/x@{wanted}", say="instead")


def test_indexes_in_a_circle(fake):
    """A digest cannot hold itself, so such a circle is one of lies: each is another manifest than was asked for."""
    lie = "sha256:" + "ab" * 32
    entry = {"mediaType": registries.INDEX, "digest": lie, "size": 10, "platform": {"os": "linux", "architecture": "amd64"}}
    name = fake.put_document({"schemaVersion": 2, "mediaType": registries.INDEX, "manifests": [entry]}, type=registries.INDEX)
    fake.manifests[lie] = fake.manifests["1"]
    hostile(fake, name, say="instead")


def test_indexes_that_nest(fake):
    kind, text = registries.INDEX, b"{}"
    for _ in range(6):
        entry = {"mediaType": registries.INDEX, "digest": archives.digest(text), "size": len(text)}
        name = fake.put_document({"schemaVersion": 2, "mediaType": kind, "manifests": [entry]}, type=kind)
        text = fake.manifests["1"][1]
    hostile(fake, name, say="nest deeper")


@pytest.mark.slow
@pytest.mark.parametrize("pack", ["gzip", "zstd"])
def test_a_layer_that_unpacks_to_more_than_it_says(fake, tmp_path, pack):
    """A terabyte of nothing in a small blob is stopped soon, and takes no room on the disk meanwhile."""
    source = tmp_path / "bomb"
    with open(source, "wb") as f:
        header = archives.Tar().add("bomb", b"").bytes()[:512]
        f.write(header[:124] + b"\x80" + (1 << 40).to_bytes(11, "big") + header[136:148] + b"        " + header[156:])
        f.seek(0)
        data = bytearray(open(source, "rb").read())
    checksum = sum(data[:512])
    data[148:156] = f"{checksum:06o}\0 ".encode()
    zeros = command([pack, "-c"], input=bytes(64 << 20), binary=True).out
    first = command([pack, "-c"], input=bytes(data[:512]), binary=True).out
    blob = first + zeros * (200 if pack == "gzip" else 3000)  # members or frames in a row
    name = fake.put(layers())
    big_one = {"mediaType": f"application/vnd.oci.image.layer.v1.tar+{pack}", "digest": archives.digest(blob), "size": len(blob)}
    fake.blobs[big_one["digest"]] = blob
    hostile(fake, fake.put_document(document(fake, layers=[big_one]), tag="bomb"), say="unpacks to more than the allowed", timeout=300)


def test_a_token_server_that_lies(tmp_path, leak_guard):
    with registries.Fake(user=("me", "hush")) as fake:
        name = fake.put(layers())
        tokens = {"not JSON": b"hello", "no token": b"{}", "holds a character": b'{"token":"a\\r\\nEvil: 1"}'}
        for say, text in tokens.items():
            fake.hook = lambda h, path, text=text: path == "/token" and not h.answer(200, text)
            hostile(fake, name, say=say.split()[-1] if say == "not JSON" else say, options=["--creds", "me:hush"])
        fake.hook = lambda h, path: path == "/token" and endless(h)
        hostile(fake, name, say="more than the allowed", options=["--creds", "me:hush"])
        fake.hook = lambda h, path: path == "/token" and not h.answer(200, b'{"token":"never-right"}')
        hostile(fake, name, say="refuses the credentials", options=["--creds", "me:hush"])
        for line in fake.requests:
            assert "hush" not in line[1]


def test_no_secret_is_told(tmp_path, leak_guard):
    with registries.Fake(user=("me", "hush-hush")) as fake:
        name = fake.put(layers())
        fake.user = ("me", "other")
        done = proa("pull", PLAIN, "--creds", "me:hush-hush", name, check=False)
        assert done.rc == 1 and "hush-hush" not in done.err + done.out


def test_the_helper_has_no_privilege(fake):
    name = fake.put(layers(big(4, 16)))
    fake.rate = 4 << 20
    running = start("pull", "-q", PLAIN, name)
    try:
        until(lambda: fake.sent)  # by the second: the first one tried https
        pid = next(p for p in os.listdir("/proc") if p.isdigit() and is_helper(p))
        with open(f"/proc/{pid}/status") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        assert status["Uid"].split() == ["65534"] * 4 and status["Groups"].strip() == ""
        assert int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
        assert status["NoNewPrivs"] == "1" and (status["Seccomp"] == "2" or PATIENCE > 1)  # a sanitizer calls what it likes
        links = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        assert not [l for l in links if l.startswith("/") and not l.startswith(("/dev/null", f"{STATE}/partial/", "/memfd:"))]
    finally:
        finish(running, kill=True)
        until(lambda: not [p for p in os.listdir("/proc") if p.isdigit() and is_helper(p)])
        proa("image", "prune", "-f")


# --- what the store makes of it ---

def test_a_layer_that_is_there_twice(fake, kind, flags):
    """As images have it whose builder made the same empty layer again and again."""
    same = one_file("same", "same\n")
    name = fake.put([BASE, same, one_file("other"), same, same])
    try:
        proa("pull", PLAIN, name)
        assert proa("run", "--rm", *flags, name, "cat", "/same", timeout=120).out == "same\n"
        key = archives.digest(next(b for b in fake.blobs.values() if fake.sent.get(archives.digest(b)) and len(b) < 400))
        assert fake.sent[key] <= len(fake.blobs[key])
    finally:
        remove(name)


@pytest.mark.slow
def test_pulls_prunes_and_kills(fake, tmp_path):
    """Whatever is killed when, nothing false stays, and the next pull works."""
    import random
    r = random.Random(5)
    store = ["--root", str(tmp_path / "store")]
    shared = one_file("shared", r.randbytes(1 << 20))
    names = [fake.put([BASE, shared, one_file(f"own{n}", r.randbytes(1 << 19))], tag=f"s{n}") for n in range(2)]
    for _ in range(30):
        running = [start(*store, "pull", "-q", PLAIN, n) for n in names] + [start(*store, "image", "prune", "-a", "-f")]
        time.sleep(r.random() * 0.5)
        victim = r.choice(running)
        victim.kill()
        for process in running:
            done = finish(process)
            assert done.rc == 0 or process is victim, done
    for name in names:
        proa(*store, "pull", PLAIN, name)
    assert proa(*store, "fsck", timeout=120).rc == 0
    assert os.listdir(tmp_path / "store/tmp") == [] and os.listdir(tmp_path / "store/partial") == []
    for folder in glob.glob("/run/proa-*[0-9a-f]"):
        shutil.rmtree(folder)


def test_a_store_of_the_first_version_is_brought_up_to_date(tmp_path):
    store = ["--root", str(tmp_path / "old")]
    proa(*store, "import", "-", "kept:1", input=BASE)
    proa(*store, "network", "ls")
    db = age(tmp_path / "old/proa.db")
    ident = "ab" * 32
    db.execute("INSERT INTO port VALUES(?,'proa',0x0a4e0005,'02:51:0a:4e:00:05','proavababababab','web',NULL,'[\"w\"]',1)", (ident,))
    db.execute("INSERT INTO publish VALUES(?,0x7f000001,8080,6,80)", (ident,))
    db.commit()
    db.close()
    done = [start(*store, "images", "-q") for _ in range(4)]  # all of them find it old
    assert [finish(p).rc for p in done] == [0] * 4
    assert proa(*store, "images", "--format", "{{.Repository}}").lines == ["kept"]
    assert proa(*store, "fsck").rc == 0
    db = sqlite3.connect(tmp_path / "old/proa.db")
    assert db.execute("SELECT count(*) FROM layer_blob").fetchone() == (0,)
    assert db.execute("SELECT network,host,host_port,protocol,port FROM publish").fetchall() == [("proa", "127.0.0.1", 8080, 6, 80)]
    assert db.execute("SELECT position,address,address6,aliases,attached FROM port").fetchall() == [(0, 0x0A4E0005, None, '["w"]', 1)]
    db.execute("PRAGMA user_version = 99")
    db.commit()
    db.close()
    refuse(*store, "images", rc=1, say="newer proa")
    for folder in glob.glob("/run/proa-*[0-9a-f]"):
        shutil.rmtree(folder)
