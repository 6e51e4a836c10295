"""Registries for the tests: Debian's docker-registry, and one of our own that can misbehave."""

import base64
import json
import os
import subprocess
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import archives
from cli import Failed, command, until

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = """version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}
http:
  addr: 127.0.0.1:{port}
{more}"""


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def make_certificates(folder):
    """An authority, a server's certificate for 127.0.0.1 and localhost, and a client's."""
    os.makedirs(folder, exist_ok=True)
    run = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command([*run, "-subj", "/CN=test authority", "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.crt"])
    for name, extension in (("server", "subjectAltName=IP:127.0.0.1,DNS:localhost"), ("client", "extendedKeyUsage=clientAuth")):
        command(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                 "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.csr"])
        with open(f"{folder}/{name}.ext", "w") as f:
            f.write(extension + "\n")
        command(["openssl", "x509", "-req", "-in", f"{folder}/{name}.csr", "-CA", f"{folder}/ca.crt", "-CAkey", f"{folder}/ca.key",
                 "-CAcreateserial", "-days", "2", "-extfile", f"{folder}/{name}.ext", "-out", f"{folder}/{name}.crt"])


class Debian:
    """docker-registry; certificates: a folder of make_certificates(); user: (name, password)."""

    def __init__(self, folder, certificates=None, clients=False, user=None):
        self.folder, self.port = str(folder), free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.user, self.certificates = user, certificates
        more = ""
        if certificates:
            more += f"  tls: {{certificate: {certificates}/server.crt, key: {certificates}/server.key"
            more += f", clientcas: [{certificates}/ca.crt]" if clients else ""
            more += "}\n"
        if user:
            with open(f"{self.folder}/htpasswd", "w") as f:
                f.write(command(["htpasswd", "-Bbn", *user]).out)
            more += f"auth: {{htpasswd: {{realm: test, path: {self.folder}/htpasswd}}}}\n"
        with open(f"{self.folder}/config.yml", "w") as f:
            f.write(CONFIG.format(folder=self.folder, port=self.port, more=more))
        self.log = open(f"{self.folder}/log", "wb")
        self.process = subprocess.Popen(["docker-registry", "serve", f"{self.folder}/config.yml"], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        until(self.answers, message=lambda: "docker-registry: " + open(f"{self.folder}/log").read()[-500:])

    def answers(self):
        import socket
        if self.process.poll() is not None:
            raise Failed("docker-registry has ended: " + open(f"{self.folder}/log").read()[-500:])
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def fill(self, repository, layers, **kw):
        """An image by skopeo; gives its name."""
        layout = f"{self.folder}/layout-{time.monotonic_ns()}"
        blobs, descriptor = archives.oci_blobs(layers, **kw)
        archives.write_files(layout, archives.oci_files(blobs, [descriptor]))
        name = f"{self.host}/{repository}"
        creds = ["--dest-creds", ":".join(self.user)] if self.user else []
        command(["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", *creds, f"oci:{layout}", f"docker://{name}"])
        return name

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Fake(ThreadingHTTPServer):
    """A registry in memory. hook(handler, path) may answer instead and gives True when it did; user makes it ask for a
    token at its own /token; sent counts the bytes of each blob that went out."""
    daemon_threads = True

    def __init__(self, user=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.blobs, self.manifests, self.sent, self.requests = {}, {}, {}, []
        self.hook, self.user, self.token, self.rate = None, user, "secret-token-1", None
        self.sending = 0  # blobs that are on their way
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    def handle_error(self, request, client_address):
        pass  # clients that leave early are what is tested

    def put(self, layers, tag="1", **kw):
        blobs, descriptor = archives.oci_blobs(layers, **kw)
        self.blobs.update(blobs)
        self.manifests[descriptor["digest"]] = self.manifests[tag] = (descriptor["mediaType"], blobs[descriptor["digest"]])
        return f"{self.host}/t/x:{tag}"

    def put_document(self, document, tag="1", type=MANIFEST):
        text = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.manifests[archives.digest(text)] = self.manifests[tag] = (type, text)
        return f"{self.host}/t/x:{tag}"

    def close(self):
        self.shutdown()
        self.thread.join()
        self.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def complain(self, status, code, **headers):
        text = json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}).encode()
        self.answer(status, text, Content_Type="application/json", **headers)

    def authorized(self, path):
        server = self.server
        if not server.user or self.headers.get("Authorization") == f"Bearer {server.token}":
            return True
        realm = f'Bearer realm="http://{server.host}/token",service="fake",scope="repository:t/x:pull"'
        self.complain(401, "UNAUTHORIZED", WWW_Authenticate=realm)
        return False

    def give_token(self):
        wanted = "Basic " + base64.b64encode(":".join(self.server.user).encode()).decode()
        if self.headers.get("Authorization") != wanted:
            self.complain(401, "UNAUTHORIZED")
            return
        self.answer(200, json.dumps({"token": self.server.token, "expires_in": 60}).encode())

    def give_blob(self, key):
        data, start = self.server.blobs[key], 0
        asked = self.headers.get("Range")
        if asked:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.server.sending += 1
        try:
            self.send_pieces(key, data, start)
        finally:
            self.server.sending -= 1

    def send_pieces(self, key, data, start):
        for at in range(start, len(data), 65536):
            piece = data[at:at + 65536]
            self.wfile.write(piece)
            self.server.sent[key] = self.server.sent.get(key, 0) + len(piece)
            if self.server.rate:
                time.sleep(len(piece) / self.server.rate)

    def do_GET(self):
        server, path = self.server, urllib.parse.urlsplit(self.path).path
        server.requests.append((self.command, self.path, dict(self.headers)))
        if server.hook and server.hook(self, path):
            return
        if path == "/token":
            self.give_token()
            return
        if not self.authorized(path):
            return
        last = path.rsplit("/", 1)[-1]
        if "/manifests/" in path and last in server.manifests:
            kind, text = server.manifests[last]
            self.answer(200, text, Content_Type=kind, Docker_Content_Digest=archives.digest(text))
        elif "/blobs/" in path and last in server.blobs:
            self.give_blob(last)
        elif path == "/v2/":
            self.answer(200, b"{}")
        else:
            self.complain(404, "MANIFEST_UNKNOWN" if "/manifests/" in path else "BLOB_UNKNOWN")

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET
