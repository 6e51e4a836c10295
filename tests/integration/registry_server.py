"""`proa registry serve` with a state directory of its own, and a client that says exactly what it is told to."""

import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import urllib.parse

from cli import PATIENCE, PROA, Failed, command, environment
from sandbox import STATE

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"


def digest(data, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The one error code of a refusal, whose form the specification fixes."""
        (error,) = self.json["errors"]
        assert set(error) <= {"code", "message", "detail"} and error["message"]
        return error["code"]

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:400]!r}"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, **kw):
        super().__init__("localhost", **kw)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Store:
    """A state directory that goes with the test, and commands on it."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="served-", dir=STATE)

    def __call__(self, *args, **kw):
        return command([PROA, "--root", self.root, *args], shown=["proa", *map(str, args)], **kw)

    def files(self):
        """Blobs, layers and half-made things; what a refused request must not change."""
        return {os.path.join(folder, name) for top in ("blobs", "layers", "tmp")
                for folder, _, names in os.walk(os.path.join(self.root, top)) for name in names}

    def close(self):
        self("rm", "-af", check=False, timeout=60)
        self("system", "prune", "-af", check=False, timeout=60)
        shutil.rmtree(self.root, ignore_errors=True)


class Registry:
    def __init__(self, store, *options, listen="127.0.0.1:0", prefix=(), context=None, headers=None):
        self.store, self.context, self.headers = store, context, headers or {}
        self.log = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen([*prefix, PROA, "--root", store.root, "registry", "serve", "--listen", listen, *options],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env=environment(), start_new_session=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            self.process.wait(10)
            raise Failed(f"the server did not start: {line!r} {self.said()!r}")
        self.url = line.split()[-1]
        self.address = self.url.split("://")[-1]

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def stop(self):
        """Ends it as a person does; its status must be 0."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(20 * PATIENCE)
        assert status == 0, (status, self.said())

    def __enter__(self):
        return self

    def __exit__(self, *what):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20 * PATIENCE)
        self.process.stdout.close()
        self.log.close()

    def connection(self):
        if self.url.startswith("unix:"):
            return UnixConnection(self.url[5:], timeout=60)
        host, port = self.address.rsplit(":", 1)
        if self.context:
            return http.client.HTTPSConnection("localhost", int(port), context=self.context, timeout=60)
        return http.client.HTTPConnection(host.strip("[]"), int(port), timeout=60)

    def ask(self, method, path, body=None, headers=None, connection=None):
        own = connection or self.connection()
        own.request(method, path, body=body, headers={**self.headers, **(headers or {})},
                    encode_chunked=hasattr(body, "__next__"))
        answer = Answer(own.getresponse())
        if not connection:
            own.close()
        return answer

    def __getattr__(self, name):
        method = name.upper()
        if method not in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"):
            raise AttributeError(name)
        return lambda path, body=None, **headers: self.ask(
            method, path, body, {k.replace("_", "-"): str(v) for k, v in headers.items()})

    def raw(self, data, timeout=60):
        """Bytes as they are; everything that comes back until the end of the connection."""
        host, port = self.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=timeout) as s:
            s.sendall(data)
            found = b""
            try:
                while piece := s.recv(65536):
                    found += piece
            except ConnectionResetError:
                pass
            return found

    # What most tests begin with.

    def blob(self, repository, data, algorithm="sha256"):
        name = digest(data, algorithm)
        answer = self.post(f"/v2/{repository}/blobs/uploads/?digest={name}", data)
        assert answer.status == 201, answer
        return name

    def begin(self, repository):
        answer = self.post(f"/v2/{repository}/blobs/uploads/", b"")
        assert answer.status == 202, answer
        return answer.headers["Location"]

    def manifest(self, repository, reference, document, media_type=MANIFEST, **headers):
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.put(f"/v2/{repository}/manifests/{reference}", data, Content_Type=media_type, **headers)

    def image(self, repository, reference, layers, **more):
        """Pushes blobs and manifest; gives the manifest's bytes."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
                             "rootfs": {"type": "layers", "diff_ids": [digest(d) for d in layers]}}).encode()
        for data in (config, *layers):
            self.blob(repository, data)
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": describe(CONFIG, config),
                    "layers": [describe(LAYER, d) for d in layers], **more}
        data = json.dumps(document).encode()
        answer = self.manifest(repository, reference, data)
        assert answer.status == 201, answer
        return data


def describe(media_type, data, algorithm="sha256", **more):
    return {"mediaType": media_type, "digest": digest(data, algorithm), "size": len(data), **more}


def artifact(content=b"{}", **more):
    """A manifest that is no image, of one blob."""
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": describe(EMPTY, b"{}"),
            "layers": [describe("text/plain", content)], **more}


def query(**values):
    return urllib.parse.urlencode(values)


def tls_context(authority, certificate=None, key=None):
    context = ssl.create_default_context(cafile=authority)
    if certificate:
        context.load_cert_chain(certificate, key)
    return context
