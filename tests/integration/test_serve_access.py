"""`proa registry serve`: who may do what, where it listens, what it does to those who keep it waiting, and its end."""

import base64
import concurrent.futures
import crypt
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

import archives
from cli import command, until
from registry_server import Registry, Store, artifact, digest, tls_context

TOKEN = "a-long-and-random-token-0123456789"


@pytest.fixture
def store(tmp_path):
    made = Store()
    yield made
    made.close()


def basic(user, secret):
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


def refused(store, *options, say):
    done = store("registry", "serve", *options, check=False, timeout=20)
    assert done.rc == 1 and len(done.err.strip().splitlines()) == 1 and say in done.err, done
    assert done.out == ""


# --- roles ---

def test_read_only(store):
    store("import", "-", "here:1", input=archives.Tar().add("x", "x").bytes())
    with Registry(store) as server:
        for method, path in (("POST", "/v2/a/blobs/uploads/"), ("PUT", "/v2/a/manifests/x"), ("DELETE", "/v2/here/manifests/1"),
                             ("POST", f"/v2/a/blobs/uploads/?mount={digest(b'')}"), ("DELETE", f"/v2/a/blobs/{digest(b'')}"),
                             ("PATCH", "/v2/a/blobs/uploads/" + "0" * 32)):
            answer = server.ask(method, path, b"{}")
            assert (answer.status, answer.code) == (405, "UNSUPPORTED"), (method, path, answer)
        assert server.get("/v2/here/manifests/1").status == 200


def test_push_without_delete(store):
    with Registry(store, "--push") as server:
        name = server.blob("a", b"x")
        assert server.delete(f"/v2/a/blobs/{name}").code == "UNSUPPORTED"
        assert server.get(f"/v2/a/blobs/{name}").body == b"x"


@pytest.fixture
def users(tmp_path):
    """One of each kind of hash; the passwords are the names with -word."""
    path = tmp_path / "users"
    sha512 = subprocess.run(["openssl", "passwd", "-6", "puller-word"], capture_output=True, text=True, check=True).stdout.strip()
    path.write_text("# a comment\n\n"
                    f"all:{crypt.crypt('all-word', crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))}\n"
                    f"puller:{sha512}:pull\r\n"
                    f"pusher:{crypt.crypt('pusher-word', crypt.METHOD_SHA256)}:push\n"
                    f"robot:sha256${hashlib.sha256(TOKEN.encode()).hexdigest()}:pull,push\n"
                    "locked:!:pull\nempty::pull\nnobody\n")
    return path


WHO = {
    "all": (basic("all", "all-word"), "pull push delete"),
    "puller": (basic("puller", "puller-word"), "pull"),
    "pusher": (basic("pusher", "pusher-word"), "pull push"),
    "robot": (basic("robot", TOKEN), "pull push"),
    "bearer": ("Bearer " + TOKEN, "pull push"),
}


def test_roles(store, users):
    with Registry(store, "--push", "--delete", "--users", users) as server:
        for name, (header, roles) in WHO.items():
            server.headers = {"Authorization": header}
            allowed = {"pull": server.get("/v2/").status == 200,
                       "push": server.post("/v2/a/blobs/uploads/?digest=" + digest(name.encode()), name.encode()).status == 201,
                       "delete": server.delete(f"/v2/a/blobs/{digest(b'all')}").status in (202, 404)}
            assert {r for r, may in allowed.items() if may} == set(roles.split()), name
        answer = server.delete(f"/v2/a/blobs/{digest(b'all')}")
        assert (answer.status, answer.code) == (403, "DENIED")


@pytest.mark.parametrize("header", [
    None, basic("all", "wrong"), basic("all", ""), basic("", "all-word"), basic("nobody", "x"), basic("locked", "!"), basic("locked", ""),
    basic("empty", ""), basic("puller", "all-word"), basic("all\0", "all-word"), basic("# a comment", "x"), "Basic", "Basic !!!!",
    "Bearer ", "Bearer all-word", "Digest x", "Basic " + "A" * 5000, "Bearer " + hashlib.sha256(TOKEN.encode()).hexdigest(),
    basic("robot", "x" + TOKEN), "Basic " + base64.b64encode(b"all\xff:\xff").decode()])
def test_strangers(store, users, header):
    with Registry(store, "--push", "--users", users) as server:
        server.headers = {"Authorization": header} if header is not None else {}
        for method, path in (("GET", "/v2/"), ("GET", "/v2/_catalog"), ("POST", "/v2/a/blobs/uploads/"), ("GET", "/v2/a/manifests/x")):
            answer = server.ask(method, path)
            assert (answer.status, answer.code) == (401, "UNAUTHORIZED"), answer
            assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
        server.headers = {"Authorization": WHO["all"][0]}
        assert server.get("/v2/").status == 200
        server.stop()


def test_a_user_who_is_struck_out(store, users):
    """The file is read at each login; the password of a session that was given is asked for again in time."""
    with Registry(store, "--users", users) as server:
        users.write_text(users.read_text().replace("puller:", "other:"))
        assert server.get("/v2/", Authorization=WHO["puller"][0]).status == 401
        assert server.get("/v2/", Authorization=basic("other", "puller-word")).status == 200


def test_anonymous_pull(store, users):
    store("import", "-", "here:1", input=archives.Tar().add("x", "x").bytes())
    with Registry(store, "--push", "--users", users, "--anonymous") as server:
        assert server.get("/v2/here/manifests/1").status == 200
        assert server.post("/v2/a/blobs/uploads/").status == 401
        assert server.post("/v2/a/blobs/uploads/", Authorization=WHO["all"][0]).status == 202
        assert server.get("/v2/here/manifests/1", Authorization=basic("all", "wrong")).status == 401


def test_tokens(store, users):
    """Docker's token protocol, where some have names and some do without."""
    store("import", "-", "here:1", input=archives.Tar().add("x", "x").bytes())
    with Registry(store, "--push", "--users", users, "--anonymous") as server:
        challenge = server.get("/v2/").headers["WWW-Authenticate"]
        assert challenge == f'Bearer realm="{server.url}/token",service="proa"'
        challenge = server.post("/v2/a/blobs/uploads/").headers["WWW-Authenticate"]
        assert challenge.endswith(',scope="repository:a:pull,push"')
        nobody = {"Authorization": "Bearer " + server.get("/token?service=proa").json["token"]}
        puller, pusher = ({"Authorization": "Bearer " + server.get("/token?scope=x", Authorization=WHO[who][0]).json["token"]}
                          for who in ("puller", "pusher"))
        for who, push in ((nobody, 401), (puller, 403), (pusher, 202)):
            assert server.get("/v2/", **who).status == 200
            assert server.get("/v2/here/manifests/1", **who).status == 200
            assert server.post("/v2/a/blobs/uploads/", **who).status == push
        assert server.get("/token", Authorization=basic("all", "wrong")).status == 401
        assert server.get("/v2/", Authorization="Bearer " + "0" * 32).status == 401
        assert server.get("/v2/", Authorization="Bearer " + TOKEN).status == 200
        assert server.get("/v2/", Host='x"y').headers["WWW-Authenticate"].startswith("Basic ")
    with Registry(store, "--users", users) as server:
        assert server.get("/token", Authorization=WHO["all"][0]).status == 404


def test_a_web_page_cannot_use_its_readers_browser(store):
    with Registry(store, "--push") as server:
        before = store.files()
        answer = server.post(f"/v2/a/blobs/uploads/?digest={digest(b'x')}", b"x", Origin="http://evil.example")
        assert (answer.status, answer.code) == (403, "DENIED")
        assert server.get("/v2/_catalog", Origin="null").status == 403
        assert store.files() == before


# --- where it listens ---

@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """ca.pem, and what it signed: server and client, and a client of another authority."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)
    for authority in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={authority}", "-keyout",
                f"{authority}.key", "-out", f"{authority}.pem", "-addext", "keyUsage=critical,keyCertSign")
    (folder / "san").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    for name, authority in (("server", "ca"), ("client", "ca"), ("stranger", "other")):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial",
                "-days", "2", "-extfile", "san", "-out", f"{name}.pem")
    return folder


def test_tls(store, certificates):
    with Registry(store, "--push", "--tls-cert", certificates / "server.pem", "--tls-key", certificates / "server.key",
                  context=tls_context(certificates / "ca.pem")) as server:
        assert server.url.startswith("https://")
        data = os.urandom(3 << 20)
        assert server.get(f"/v2/a/blobs/{server.blob('a', data)}").body == data
        server.context = tls_context(certificates / "other.pem")
        with pytest.raises(ssl.SSLCertVerificationError):
            server.get("/v2/")
        server.context = old = tls_context(certificates / "ca.pem")
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, OSError)):
            server.get("/v2/")
        assert b"HTTP/1.1 200" not in server.raw(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")


def test_client_certificates(store, certificates):
    def context(*who):
        return tls_context(certificates / "ca.pem", *[certificates / w for w in who])
    with Registry(store, "--push", "--tls-cert", certificates / "server.pem", "--tls-key", certificates / "server.key",
                  "--tls-client-ca", certificates / "ca.pem", context=context("client.pem", "client.key")) as server:
        name = server.blob("a", b"x")
        for who in ((), ("stranger.pem", "stranger.key")):
            server.context = context(*who)
            for method, path in (("GET", "/v2/"), ("GET", f"/v2/a/blobs/{name}"), ("POST", "/v2/a/blobs/uploads/")):
                try:
                    assert server.ask(method, path).status == 403
                except ssl.SSLError:
                    pass  # refused before that


def test_addresses(store, certificates):
    pair = ["--tls-cert", certificates / "server.pem", "--tls-key", certificates / "server.key"]
    refused(store, "--listen", "0.0.0.0:0", say="--insecure-http")
    refused(store, "--listen", ":0", say="--insecure-http")
    refused(store, "--listen", "198.51.100.1:0", say="--insecure-http")
    refused(store, "--listen", "0.0.0.0:0", "--insecure-http", "--push", say="--users")
    refused(store, "--listen", "0.0.0.0:0", *pair, "--delete", say="--users")
    refused(store, "--listen", "example.org:5000", say="numeric")
    refused(store, "--listen", "127.0.0.1", say="ADDRESS:PORT")
    refused(store, "--listen", "127.0.0.1:0", "--tls-cert", certificates / "server.pem", say="--tls-key")
    refused(store, "--listen", "127.0.0.1:0", "--tls-client-ca", certificates / "ca.pem", say="--tls-cert")
    refused(store, "--listen", "127.0.0.1:0", "--tls-cert", certificates / "client.key", "--tls-key", certificates / "server.key",
            say="cannot be used")
    refused(store, "--listen", "127.0.0.1:0", "--tls-cert", "/no/such", "--tls-key", "/no/such", say="/no/such")
    for address in ("0.0.0.0:0", "[::1]:0", "127.0.0.1:0", "localhost:0"):
        with Registry(store, "--insecure-http", listen=address) as server:
            assert server.get("/v2/").status == 200
    with Registry(store) as server:
        refused(store, "--listen", server.address, say="in use")


def test_unix_socket(store, tmp_path):
    path = tmp_path / "socket"
    for _ in range(2):
        with Registry(store, "--push", listen=str(path)) as server:
            assert os.stat(path).st_mode & 0o777 == 0o600 or os.stat(path).st_mode & 0o077 == 0
            data = os.urandom(1 << 20)
            assert server.get(f"/v2/a/blobs/{server.blob('a', data)}").body == data
            refused(store, "--listen", path, say="in use")
        assert not path.exists()
    with Registry(store, listen=f"unix:{path}") as server:  # a dead one's socket is no obstacle
        below = children(server.process.pid)
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        until(lambda: not [p for p in below if alive(p)])
    assert path.exists()
    with Registry(store, listen=str(path)) as server:
        assert server.get("/v2/").status == 200


# --- limits ---

def test_an_upload_that_is_too_large(store):
    with Registry(store, "--push", "--max-upload", "1m") as server:
        before = store.files()
        data = b"x" * ((1 << 20) + 1)
        answer = server.post(f"/v2/a/blobs/uploads/?digest={digest(data)}", data)
        assert (answer.status, answer.code) == (413, "SIZE_INVALID")
        location = server.begin("a")
        assert server.patch(location, data[:-1]).status == 202
        assert server.patch(location, b"x").status == 413
        assert server.put(f"{location}?digest={digest(data[:-1])}").status == 201
        assert store.files() - before == {f"{store.root}/blobs/sha256/{digest(data[:-1])[7:]}"}


def test_the_room_for_uploads(store):
    with Registry(store, "--push", "--upload-room", "2m") as server:
        locations = [server.begin("a") for _ in range(3)]
        for location in locations:
            assert server.patch(location, b"x" * (1 << 20)).status == 202
        # One is ended, whichever; the others go on.
        until(lambda: [server.patch(l, b"").status for l in locations].count(507) == 1)
        assert [server.delete(l).status for l in locations] == [204] * 3


def test_many_uploads_at_once(store):
    with Registry(store, "--push") as server:
        locations = [server.begin("a") for _ in range(64)]
        answer = server.post("/v2/a/blobs/uploads/")
        assert (answer.status, answer.code) == (429, "TOOMANYREQUESTS") and answer.headers["Retry-After"]
        assert server.delete(locations[0]).status == 204
        server.begin("a")


def test_many_connections(store):
    with Registry(store, "--max-connections", "4", "--timeout", "20s") as server:
        host, port = server.address.split(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(4)]
        for s in idle:
            s.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert s.recv(12) == b"HTTP/1.1 200"
        fifth = socket.create_connection((host, int(port)))
        fifth.settimeout(60)
        try:
            assert fifth.recv(1) == b""
        except ConnectionResetError:
            pass
        for s in [*idle, fifth]:
            s.close()
        until(lambda: answers(server))


def answers(server):
    try:
        return server.get("/v2/").status == 200
    except OSError:
        return False


@pytest.mark.parametrize("what", ["nothing", "head", "body", "answer"])
def test_slow_clients(store, what):
    """Each sends or takes a little now and then, never silent for long; each is dropped, and nothing stays of it."""
    with Registry(store, "--push", "--timeout", "2s") as server:
        name = server.blob("a", b"z" * (32 << 20))
        host, port = server.address.split(":")
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect((host, int(port)))
        s.settimeout(0.3)
        if what == "head":
            s.sendall(b"GET /v2/ HTTP/1.1\r\n")
        elif what == "body":
            s.sendall(f"POST /v2/a/blobs/uploads/?digest={digest(b'')} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n".encode())
        elif what == "answer":
            s.sendall(f"GET /v2/a/blobs/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

        def dropped():
            try:
                if what in ("head", "body"):
                    s.sendall(b"x")
                return s.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True
        if what == "answer":  # the rest of it never comes
            until(lambda: server_connections(server) == 0, timeout=60, every=0.5)
        else:
            until(dropped, timeout=60)
        s.close()
        assert server.get("/v2/").status == 200
        until(lambda: not [f for f in store.files() if "/tmp/" in f])


def server_connections(server):
    """As many threads as connections, beside the three that are always there."""
    pid = http_process(server)
    return len(os.listdir(f"/proc/{pid}/task")) - 3


@pytest.mark.parametrize("data", [
    b"\0" * 5000, b"GET", b"GET /v2/\r\n\r\n", b"GET /v2/ HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00" * 100,
    b"GET /v2/ HTTP/1.1\r\n" + b"A: b\r\n" * 100000 + b"\r\n", b"GET /" + b"a" * 1000000 + b" HTTP/1.1\r\n\r\n",
    b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"GET /v2/%00%ff%fe/tags/list?last=%ff&n=%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v2/_catalog?last=%ff HTTP/1.1\r\nHost: x\r\nRange: bytes=9-\r\n\r\n",
    b"PUT /v2/a/manifests/x?tag=%ff&tag=%0d%0aX:y HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    b"GET /v2/a/referrers/sha256:" + b"0" * 64 + b"?artifactType=%0d%0aX:y HTTP/1.1\r\nHost: x\r\n\r\n",
], ids=range(14))
def test_bytes_that_are_no_request(store, data):
    with Registry(store, "--push", "--timeout", "2s") as server:
        before = store.files()
        said = server.raw(data)
        assert b"HTTP/1.1 200" not in said or b"_catalog" in data
        assert b"\r\nX:y" not in said
        assert answers(server)
        until(lambda: store.files() == before)
        server.stop()


# --- its processes ---

def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


def words_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read()
    except FileNotFoundError:  # it has ended meanwhile
        return b""


def http_process(server):
    (pid,) = [p for p in children(server.process.pid) if b"proa-serve\0http" in words_of(p)]
    return pid


FILTERED = "0" if "asan" in os.environ.get("PROA_BUILD", "") else "2"  # a sanitizer's own calls are no fixed list


def process_status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def test_what_parses_has_no_privilege(store):
    with Registry(store, "--push") as server:
        server.begin("a")
        for pid in children(server.process.pid):
            # A receiver may just have begun.
            status = until(lambda: (lambda s: s if s["NoNewPrivs"] == "1" and s["Seccomp"] == FILTERED else None)(process_status(pid)))
            assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"65534"}, pid
            assert status["Groups"].strip() == ""
            for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert int(status[capabilities], 16) == 0, capabilities
        # It has no file of the store open, and not even of the upload that goes through it.
        open_files = [os.readlink(f"/proc/{http_process(server)}/fd/{fd}") for fd in os.listdir(f"/proc/{http_process(server)}/fd")]
        assert not [f for f in open_files if f.startswith(store.root)], open_files


def test_the_death_of_what_parses_is_the_end(store):
    with Registry(store, "--push") as server:
        server.begin("a")
        os.kill(http_process(server), signal.SIGKILL)
        assert server.process.wait(20) == 1
        assert "proa-serve has ended" in server.said()
    assert os.listdir(f"{store.root}/tmp") == []


def test_nothing_outlives_a_killed_server(store):
    """And what it left half made goes with the next command; what was acknowledged stays."""
    with Registry(store, "--push") as server:
        server.blob("a", b"{}")
        data = json.dumps(artifact()).encode()
        assert server.manifest("a", "kept", data).status == 201
        location = server.begin("a")
        server.patch(location, b"x" * 100000)
        below = children(server.process.pid)
        assert len(below) == 2
        server.process.kill()
        server.process.wait()
    until(lambda: not [p for p in below if alive(p)])
    store("images")
    assert os.listdir(f"{store.root}/tmp") == []
    with Registry(store) as server:
        assert server.get("/v2/a/manifests/kept").body == data
        assert server.get("/v2/_catalog").json == {"repositories": ["a"]}


# --- many at once, and the end at any moment ---

LAYERS = [archives.Tar().add("file", bytes([n]) * 20000).bytes() for n in range(4)]


def busy_client(server, number, rounds, stop):
    """Pushes, pulls, mounts and deletes the same few things as all the others; gives the answers that no such client
    should ever get. The death of the server is none of them when it was told to die."""
    chance, wrong = random.Random(number), []
    for _ in range(rounds):
        layer, repository, other = chance.choice(LAYERS), chance.choice("abc"), chance.choice("abc")
        deeds = [lambda: server.post(f"/v2/{repository}/blobs/uploads/?digest={digest(layer)}", layer),
                 lambda: server.get(f"/v2/{repository}/blobs/{digest(layer)}"),
                 lambda: server.post(f"/v2/{repository}/blobs/uploads/?mount={digest(layer)}&from={other}"),
                 lambda: server.delete(f"/v2/{repository}/blobs/{digest(layer)}"),
                 lambda: server.image(repository, chance.choice("xy"), [layer]),
                 lambda: server.get(f"/v2/{repository}/manifests/{chance.choice('xy')}"),
                 lambda: server.delete(f"/v2/{repository}/manifests/{chance.choice('xy')}"),
                 lambda: server.get(f"/v2/{repository}/tags/list")]
        try:
            answer = chance.choice(deeds)()
        except AssertionError as e:  # a blob of the image went before its manifest came
            if stop.is_set():
                break
            wrong += [str(e)] if "MANIFEST_BLOB_UNKNOWN" not in str(e) and "TOOMANY" not in str(e) else []
            continue
        except (OSError, http.client.HTTPException) as e:
            if stop.is_set():
                break
            wrong.append(repr(e))
            continue
        if not isinstance(answer, bytes) and answer.status >= 500 and not stop.is_set():
            wrong.append(repr(answer))
        if not isinstance(answer, bytes) and answer.status == 200 and len(answer.body) > 10000 and answer.body != layer:
            wrong.append("other bytes than were pushed")
    return wrong


def run_clients(server, rounds, stop, meanwhile):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(busy_client, server, n, rounds, stop) for n in range(8)]
        meanwhile()
        return [fault for c in clients for fault in c.result()]


def test_many_clients_and_the_owner_at_once(store):
    def owner():
        for _ in range(5):
            store("registry", "prune", "-f", "--older", "0s")
            store("image", "prune", "-af")
            store("images")
    with Registry(store, "--push", "--delete") as server:
        assert run_clients(server, 40, threading.Event(), owner) == []
        server.stop()
    found = store("fsck", check=False)
    assert found.rc == 0, found
    assert os.listdir(f"{store.root}/tmp") == []


@pytest.mark.slow
def test_the_store_is_whole_whenever_the_server_dies(store):
    for number in range(12):
        stop = threading.Event()
        with Registry(store, "--push", "--delete") as server:
            def kill():
                time.sleep(0.05 + number * 0.08)
                stop.set()
                os.kill(server.process.pid if number % 3 else http_process(server), signal.SIGKILL)
                server.process.wait()
            assert (run_clients(server, 1000, stop, kill), "") == ([], ""), server.said()
        store("images")
        found = store("fsck", check=False)
        assert found.rc == 0, (number, found)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_the_help_names_the_limits():
    text = command([os.path.join(os.environ.get("PROA_BUILD", "build"), "proa"), "registry", "serve", "--help"]).out
    for word in ("4 MiB", "64 uploads", "15 minutes", "256 bytes", "--max-upload", "--upload-room", "--max-connections", "--timeout",
                 "htpasswd"):
        assert word in text
