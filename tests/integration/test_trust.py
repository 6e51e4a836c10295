"""Trust at the door: what a policy lets in, signatures that Skopeo makes and takes, registries that lie about them."""

import base64
import json
import os
import subprocess

import pytest

import archives
import registries
from cli import BUILD, command, proa, refuse, until
from sandbox import STATE, TOP

PLAIN = "--tls-verify=false"
PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
SIGNERS = command([f"{TOP}/scripts/fetch", "--print", "signers"]).out.strip()  # Debian 12's own Skopeo refuses to sign
ACCEPT, REJECT = [{"type": "insecureAcceptAnything"}], [{"type": "reject"}]
LAYER = archives.busybox_tree().add("etc/trusted", "x").bytes()


@pytest.fixture(scope="module", autouse=True)
def signers(fetched):
    """cosign and Skopeo of Debian 13."""


class Keys:
    """PREFIX.key, PREFIX.pub, and for the encrypted ones the passphrase's file."""

    def __init__(self, folder, name, kind="ecdsa-p256", encrypted=False):
        self.prefix = f"{folder}/{name}"
        self.secret = ["--passphrase-file", f"{self.prefix}.pass"] if encrypted else []
        if encrypted:
            with open(f"{self.prefix}.pass", "w") as f:
                f.write("open sesame\n")
        proa("trust", "keygen", "--type", kind, *self.secret, self.prefix)
        self.private, self.public = f"{self.prefix}.key", f"{self.prefix}.pub"

    def raw(self, text):
        """A signature by OpenSSL's own program, in base64."""
        done = command(["openssl", "dgst", "-sha256", "-sign", self.private, "/dev/stdin"], input=text, binary=True)
        return base64.b64encode(done.out).decode()


@pytest.fixture(scope="module")
def debian(house, tmp_path_factory):
    with registries.Debian(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="module")
def keys(house, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return {"ours": Keys(folder, "ours"), "edwards": Keys(folder, "edwards", "ed25519"),
            "p384": Keys(folder, "p384", "ecdsa-p384"), "boxed": Keys(folder, "boxed", encrypted=True),
            "others": Keys(folder, "others")}


# Started before the guard looks: docker-registry listens.
@pytest.fixture(autouse=True)
def registry_first(debian, keys):
    pass


@pytest.fixture
def fake(leak_guard):
    with registries.Fake() as found:
        yield found


class Policy:
    def __init__(self, folder):
        self.path = f"{folder}/policy.json"
        self.folder = folder

    def write(self, document):
        with open(self.path, "w") as f:
            f.write(document if isinstance(document, str) else json.dumps(document))
        return ["--policy", self.path]

    def default(self, *requirements):
        return self.write({"default": list(requirements)})

    def signed(self, keys, **more):
        return self.default({"type": "sigstoreSigned", "keyPath": keys.public, **more})

    def skopeo(self):
        """Skopeo's options for the same policy, with signatures looked for in registries."""
        attach = f"{self.folder}/registries.d"
        os.makedirs(attach, exist_ok=True)
        with open(f"{attach}/default.yaml", "w") as f:
            f.write("default-docker:\n  use-sigstore-attachments: true\n")
        return [f"{SIGNERS}/skopeo", "--registries.d", attach, "--policy", self.path]


@pytest.fixture
def policy(tmp_path):
    return Policy(str(tmp_path))


def stored():
    """Everything in the store that a pull could have added."""
    found = [f"{folder}/{name}" for folder in ("layers", "blobs/sha256", "partial", "tmp")
             if os.path.isdir(f"{STATE}/{folder}") for name in os.listdir(f"{STATE}/{folder}")]
    return sorted(found), proa("images", "-a", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}").lines


def accepts(options, name, *more):
    try:
        return proa(*options, "pull", "-q", PLAIN, *more, name).out.strip()
    finally:
        for found in (name, name.split("@")[0] + ":1"):
            proa("rmi", "-f", found, check=False)


def refuses(options, name, say):
    before = stored()
    refuse(*options, "pull", PLAIN, name, rc=1, say=say)
    assert stored() == before


def digest_of(name):
    return command(["skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{name}"]).out.strip()


# --- with others ---

COSIGN = {"COSIGN_PASSWORD": "open sesame"}


def cosign(verb, *words, cwd=None, check=True):
    http = [] if verb.startswith("generate") else ["--allow-http-registry"]
    return command([f"{SIGNERS}/cosign", verb, *http, *words], env=COSIGN, cwd=cwd, check=check)


@pytest.mark.parametrize("which", ["ours", "edwards", "p384", "boxed"])
def test_skopeo_takes_what_is_signed_here(debian, keys, policy, tmp_path, which):
    name, key = debian.fill(f"sign/{which}:1", [LAYER]), keys[which]
    options = policy.signed(key)
    copy = [*policy.skopeo(), "copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{tmp_path}/copy"]
    assert command(copy, check=False).rc != 0
    refuses(options, name, ["it has no signature", policy.path])
    assert proa("sign", PLAIN, "--key", key.private, *key.secret, name).out.strip() == digest_of(name)
    command(copy)
    accepts(options, name)
    # One more signature leaves the first where it is.
    proa("sign", PLAIN, "--key", keys["others"].private, name)
    for one in (key, keys["others"]):
        options = policy.signed(one)
        command(copy)
        accepts(options, name)


def test_what_skopeo_signs_is_taken_here(debian, keys, policy):
    key = keys["boxed"]
    source, name = debian.fill("skopeo/from:1", [LAYER]), f"{debian.host}/skopeo/to:1"
    policy.default(*ACCEPT)
    command([*policy.skopeo(), "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--sign-by-sigstore-private-key",
             key.private, "--sign-passphrase-file", f"{key.prefix}.pass", f"docker://{source}", f"docker://{name}"])
    accepts(policy.signed(key), name)
    assert proa("verify", PLAIN, "--key", key.public, name).out.strip() == digest_of(name)
    refuses(policy.signed(keys["ours"]), name, "signed with another key")
    # Signed here too, and Skopeo still finds its own.
    proa("sign", PLAIN, "--key", keys["ours"].private, name)
    policy.signed(key)
    command([*policy.skopeo(), "inspect", "--tls-verify=false", f"docker://{name}"])
    accepts(policy.signed(keys["ours"]), name)


def test_cosign_takes_what_is_signed_here(debian, keys):
    name = debian.fill("cosign/takes:1", [LAYER])
    for key in (keys["ours"], keys["boxed"]):
        proa("sign", PLAIN, "--key", key.private, *key.secret, name)
        cosign("verify", "--insecure-ignore-tlog", "--key", key.public, name)
    assert cosign("verify", "--insecure-ignore-tlog", "--key", keys["others"].public, name, check=False).rc != 0


def test_what_cosign_signs_is_taken_here(debian, keys, policy, tmp_path):
    name = debian.fill("cosign/signs:1", [LAYER])
    cosign("generate-key-pair", cwd=tmp_path)
    public = str(tmp_path / "cosign.pub")
    for private, public in ((tmp_path / "cosign.key", public), (keys["boxed"].private, keys["boxed"].public)):
        rule = {"type": "sigstoreSigned", "keyPath": public, "signedIdentity": {"type": "matchRepository"}}
        refuses(policy.default(rule), name, None)
        cosign("sign", "-y", "--tlog-upload=false", "--key", private, name)
        accepts(policy.default(rule), name)
        del rule["signedIdentity"]
        refuses(policy.default(rule), name, "what is signed is")
    # With cosign's own key, here.
    proa("sign", PLAIN, "--key", tmp_path / "cosign.key", name, env=COSIGN)
    accepts(policy.default({"type": "sigstoreSigned", "keyPath": str(tmp_path / "cosign.pub")}), name)


def test_identities(debian, keys, policy):
    key, name = keys["ours"], debian.fill("who/am:1", [LAYER])
    other = debian.fill("who/else:1", [LAYER])
    assert digest_of(name) == digest_of(other)
    proa("sign", PLAIN, "--key", key.private, "--identity", other, name)
    refuses(policy.signed(key), name, f"what is signed is {other} (matchRepoDigestOrExact)")
    refuses(policy.signed(key, signedIdentity={"type": "matchRepository"}), name, f"what is signed is {other}")
    accepts(policy.signed(key, signedIdentity={"type": "exactReference", "dockerReference": other}), name)
    accepts(policy.signed(key, signedIdentity={"type": "remapIdentity", "prefix": name[:-2], "signedPrefix": other[:-2]}), name)
    proa("sign", PLAIN, "--key", key.private, "--identity", f"{name[:-2]}:2", name)
    refuses(policy.signed(key), name, "none of 2 signatures will do")
    accepts(policy.signed(key), f"{name[:-2]}@{digest_of(name)}")
    accepts(policy.signed(key, signedIdentity={"type": "matchRepository"}), name)
    refuse("verify", PLAIN, "--key", key.public, name, rc=1, say="what is signed is")
    assert proa("verify", PLAIN, "--any-tag", "--key", key.public, name).out.strip() == digest_of(name)


def test_another_image_under_a_signed_tag(debian, keys, policy):
    key, name = keys["ours"], debian.fill("swap/me:1", [LAYER])
    proa("sign", PLAIN, "--key", key.private, name)
    accepts(policy.signed(key), name)
    debian.fill("swap/me:1", [LAYER, archives.Tar().add("evil", "x").bytes()])
    refuses(policy.signed(key), name, "it has no signature")


def test_run_and_create_ask_too(debian, keys, policy):
    name = debian.fill("run/it:1", [LAYER])
    options = policy.signed(keys["ours"])
    before = stored()
    for verb in (["run", "--rm"], ["create"]):
        refuse(*options, *verb, PLAIN, name, "true", say="it has no signature")
    assert stored() == before
    proa("sign", PLAIN, "--key", keys["ours"].private, name)
    try:
        assert proa(*options, "run", "--rm", PLAIN, name, "cat", "/etc/trusted").out == "x"
    finally:
        proa("rmi", "-f", name)


def test_a_build_asks_for_its_base(debian, keys, policy, tmp_path):
    name = debian.fill("build/on:1", [LAYER])
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Containerfile").write_text(f"FROM {name}\nLABEL a=b\n")
    options, before = policy.signed(keys["ours"]), stored()
    refuse(*options, "build", PLAIN, "-q", tmp_path / "context", rc=None, say="it has no signature")
    assert stored() == before
    proa("sign", PLAIN, "--key", keys["ours"].private, name)
    try:
        proa(*options, "build", PLAIN, "-q", "-t", "trusted/built:1", tmp_path / "context")
    finally:
        proa("rmi", "-f", "trusted/built:1", name)
        proa("builder", "prune", "-f")


# --- policies ---

def test_scopes_and_simple_requirements(debian, policy):
    name = debian.fill("scopes/deep/x:1", [LAYER])
    repository, digest = name[:-2], digest_of(name)
    rules = {debian.host: REJECT, f"{debian.host}/scopes": ACCEPT}
    accepts(policy.write({"default": REJECT, "transports": {"docker": rules}}), name)
    rules[f"{debian.host}/scopes/deep"] = [{"type": "requireDigest"}]
    options = policy.write({"default": ACCEPT, "transports": {"docker": rules}})
    refuses(options, name, ["named by its digest", f"docker {debian.host}/scopes/deep"])
    accepts(options, f"{repository}@{digest}")
    rules[repository] = REJECT
    options = policy.write({"default": ACCEPT, "transports": {"docker": rules}})
    refuses(options, f"{repository}@{digest}", "it is rejected")
    shown = proa(*options, "trust", "check", "--format", "{{.Scope}} {{.Requirements}}", f"{debian.host}/scopes/deep/y")
    assert shown.out.strip() == f"{debian.host}/scopes/deep requireDigest"
    assert len(proa(*options, "trust", "show", "-q").lines) == 5


@pytest.mark.parametrize("text, say", [
    ("{", "not valid JSON"),
    ('{"default":[{"type":"acceptAll"}]}', "acceptAll"),
    ('{"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]}', "duplicate"),
    ('{"default":[{"type":"insecureAcceptAnything","key":1}]}', '"key" is not known'),
    ('{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}]}', "signedBy, which Proa does not know"),
    ('{"default":[{"type":"sigstoreSigned","fulcio":{"caPath":"/ca"}}]}', "sigstoreSigned with fulcio"),
    ('{"default":[{"type":"sigstoreSigned","keyPath":"/absent.pub"}]}', "read the key /absent.pub"),
    ('{"default":[{"type":"sigstoreSigned","keyPath":"/etc/passwd"}]}', "no public key"),
    ('{"default":[{"type":"insecureAcceptAnything"}],"transports":{"dokcer":{}}}', "dokcer"),
    ('{"default":[{"type":"insecureAcceptAnything"}],"transports":{"docker":{"web":[{"type":"reject"}]}}}', "docker.io/web"),
], ids=lambda v: None if v.startswith("{") else v.split()[-1].strip('"'))
def test_policies_that_refuse(debian, keys, policy, text, say):
    name = debian.fill("refuse/all:1", [LAYER])
    if "passwd" in text:
        proa("sign", PLAIN, "--key", keys["ours"].private, name)
    refuses(policy.write(text), name, say)


def test_a_policy_that_is_not_there(debian, tmp_path):
    refuses(["--policy", str(tmp_path / "absent")], debian.fill("refuse/all:1", [LAYER]), "read the policy")


def test_archives_have_transports_of_their_own(policy, tmp_path):
    root = tmp_path / "root.tar"
    root.write_bytes(LAYER)
    docker, oci = tmp_path / "docker.tar", tmp_path / "oci.tar"
    docker.write_bytes(archives.docker_archive([LAYER], "trusted/docker:1"))
    oci.write_bytes(archives.oci_archive([LAYER], "trusted/oci:1"))
    layout = tmp_path / "layout"
    blobs, descriptor = archives.oci_blobs([LAYER])
    archives.write_files(str(layout), archives.oci_files(blobs, [descriptor], ["trusted/layout:1"]))
    ways = {"tarball": ["import", str(root), "trusted/root:1"], "docker-archive": ["load", "-i", str(docker)],
            "oci-archive": ["load", "-i", str(oci)], "oci": ["load", "-i", str(layout)]}
    for allowed in ways:
        options = policy.write({"default": REJECT, "transports": {allowed: {"": ACCEPT}}})
        for way, words in ways.items():
            if way == allowed:
                proa(*options, *words)
                continue
            before = stored()
            refuse(*options, *words, rc=1, say=["it is rejected", policy.path])
            assert stored() == before
        for image in proa("images", "--format", "{{.Repository}}:{{.Tag}}").lines:
            if image.startswith("trusted/"):
                proa("rmi", "-f", image)
    options = policy.write({"default": ACCEPT, "transports": {"oci": {str(layout): REJECT}}})
    refuse(*options, *ways["oci"], rc=1, say=str(layout))


# --- registries that lie ---

class Signed:
    """An image in a fake registry, with a signature as cosign writes it: for the repository, without a tag."""

    def __init__(self, fake, keys):
        self.fake, self.keys = fake, keys
        self.name = fake.put([LAYER])
        self.digest = archives.digest(fake.manifests["1"][1])
        self.tag = self.digest.replace(":", "-") + ".sig"

    def payload(self, digest=None, reference=None, kind="cosign container image signature"):
        return json.dumps({"critical": {"identity": {"docker-reference": reference or f"{self.fake.host}/t/x"},
                                        "image": {"docker-manifest-digest": digest or self.digest}, "type": kind},
                           "optional": None}).encode()

    def layer(self, payload, signature=None, **members):
        self.fake.blobs[archives.digest(payload)] = payload
        return {"mediaType": PAYLOAD, "digest": archives.digest(payload), "size": len(payload),
                "annotations": {SIGNATURE: signature or self.keys.raw(payload)}, **members}

    def put(self, *layers):
        config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": self.digest, "size": 2}
        self.fake.put_document({"schemaVersion": 2, "mediaType": registries.MANIFEST, "config": config,
                                "layers": list(layers)}, self.tag)


@pytest.fixture
def signed(fake, keys):
    return Signed(fake, keys["ours"])


@pytest.fixture
def any_tag(policy, keys):
    return policy.signed(keys["ours"], signedIdentity={"type": "matchRepository"})


def test_as_cosign_signs(signed, policy, keys, any_tag):
    signed.put(signed.layer(signed.payload()))
    accepts(any_tag, signed.name)
    refuses(policy.signed(keys["ours"]), signed.name, "what is signed is")


def test_an_index_that_is_signed(fake, signed, any_tag):
    kind, text = fake.manifests["1"]
    entry = {"mediaType": kind, "digest": signed.digest, "size": len(text), "platform": {"os": "linux", "architecture": "amd64"}}
    name = fake.put_document({"schemaVersion": 2, "mediaType": registries.INDEX, "manifests": [entry]}, "2", registries.INDEX)
    refuses(any_tag, name, "it has no signature")
    signed.digest = archives.digest(fake.manifests["2"][1])
    signed.tag = signed.digest.replace(":", "-") + ".sig"
    signed.put(signed.layer(signed.payload()))
    accepts(any_tag, name)
    refuses(any_tag, signed.name, "it has no signature")  # the manifest without the index


BAD_LAYERS = {
    "another digest": (lambda s: s.layer(s.payload(digest="sha256:" + "0" * 64)), "another manifest"),
    "another repository": (lambda s: s.layer(s.payload(reference=f"{s.fake.host}/t/y")), "what is signed is"),
    "another host": (lambda s: s.layer(s.payload(reference="registry.example.com/t/x")), "what is signed is"),
    "another kind": (lambda s: s.layer(s.payload(kind="atomic container signature")), "atomic container signature"),
    "no base64": (lambda s: s.layer(s.payload(), signature="?" + s.keys.raw(s.payload())[1:]), "no base64"),
    "another signature": (lambda s: s.layer(s.payload(), signature=s.keys.raw(b"x")), "another key"),
    "an empty signature": (lambda s: s.layer(s.payload(), annotations={}), "without a signature"),
    "duplicate keys": (lambda s: s.layer(s.payload().replace(b'"critical": ', b'"critical": {}, "critical": ', 1)), "duplicate"),
    "more keys": (lambda s: s.layer(s.payload().replace(b'"type"', b'"expires": 1, "type"', 1)), "other members"),
    "deep": (lambda s: s.layer(b"[" * 60000), "not valid JSON"),
    "no payload there": (lambda s: s.layer(s.payload(), digest="sha256:" + "1" * 64), "404"),
    "a longer payload": (lambda s: s.layer(s.payload(), size=len(s.payload()) - 1), None),
    "a huge payload": (lambda s: s.layer(s.payload(), size=1 << 40), "too large"),
    "no digest": (lambda s: s.layer(s.payload(), digest="../../etc/passwd"), "without a valid sha256 digest"),
}


@pytest.mark.parametrize("case", BAD_LAYERS)
def test_signatures_that_will_not_do(signed, any_tag, case):
    make, say = BAD_LAYERS[case]
    signed.put(make(signed))
    refuses(any_tag, signed.name, say)


def test_a_bad_signature_spoils_no_good_one(signed, any_tag):
    bad = signed.layer(signed.payload(), signature=signed.keys.raw(b"x"))
    signed.put(*[bad] * 20, signed.layer(signed.payload()))
    accepts(any_tag, signed.name)


@pytest.mark.parametrize("document, say", [
    ({"schemaVersion": 2, "layers": [{}] * 10000}, "10000 are too many"),
    (b'{"schemaVersion":2,"layers":[],"layers":[]}', "duplicate"),
    (b"{" * 100000, "not valid JSON"),
    (b" " * (3 << 20) + b"{}", "larger than"),
    ({"schemaVersion": 2, "manifests": []}, "in no OCI image manifest"),
    ({"schemaVersion": 2, "layers": []}, "it has no signature"),
], ids=["many", "duplicate", "deep", "large", "index", "none"])
def test_hostile_manifests_of_signatures(fake, signed, any_tag, document, say):
    fake.put_document(document, signed.tag)
    refuses(any_tag, signed.name, say)


def test_a_payload_without_end(fake, signed, any_tag):
    signed.put(signed.layer(signed.payload()))

    def endless(handler, path):
        if path.endswith(archives.digest(signed.payload())):
            handler.send_response(200)
            handler.end_headers()
            try:
                for _ in range(1 << 14):
                    handler.wfile.write(b"x" * 65536)
            except OSError:
                return True
            raise AssertionError("all of it was taken")
        return False
    fake.hook = endless
    refuses(any_tag, signed.name, None)


def test_a_registry_that_fails_lets_nothing_in(fake, signed, any_tag):
    def broken(handler, path):
        if path.endswith(".sig"):
            handler.complain(403, "DENIED")
            return True
        return False
    fake.hook = broken
    refuses(any_tag, signed.name, "denied")


# --- keys ---

def test_the_program_for_keys_is_confined():
    with subprocess.Popen([f"{BUILD}/proa-trust", "verify"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        def status():
            with open(f"/proc/{process.pid}/status") as f:
                return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        # A sanitized program has no list of system calls (wire/confine/confine.c).
        last = ("NoNewPrivs", "1") if "asan" in os.path.basename(BUILD) else ("Seccomp", "2")
        until(lambda: status()[last[0]] == last[1])
        found = status()
        process.stdin.close()
        assert process.wait(10) == 1  # nothing is no request
    assert found["Uid"].split() == ["65534"] * 4 and found["Gid"].split() == ["65534"] * 4
    assert found["NoNewPrivs"] == "1" and found["Groups"].strip() == ""
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(found[kind], 16) == 0, kind


def test_keys(keys, tmp_path):
    name = "registry.example.com/x@sha256:" + "a" * 64
    to_file = ["--output-signature", tmp_path / "signature", "--output-payload", tmp_path / "payload"]
    boxed = keys["boxed"]
    refuse("sign", *to_file, name, rc=1, say=["--key", "keygen"])
    refuse("sign", "--key", boxed.private, *to_file, name, rc=1, say="a passphrase is needed")
    refuse("sign", "--key", boxed.private, *to_file, name, rc=1, say="passphrase is wrong", env={"COSIGN_PASSWORD": "no"})
    refuse("sign", "--key", boxed.public, *to_file, name, rc=1, say="not a private key")
    refuse("sign", "--key", boxed.private, "--identity", "web", *to_file, name, rc=1, say="names no registry")
    refuse("trust", "keygen", boxed.prefix, rc=1, say="file exists")
    refuse("trust", "keygen", "--type", "dsa", tmp_path / "k", rc=1, say="ed25519")
    assert os.stat(boxed.private).st_mode & 0o777 == 0o600
    assert not os.path.exists(tmp_path / "signature")
    proa("sign", "--key", boxed.private, *to_file, name, env={"COSIGN_PASSWORD": "open sesame"})
    (tmp_path / "raw").write_bytes(base64.b64decode((tmp_path / "signature").read_bytes(), validate=True))
    command(["openssl", "dgst", "-sha256", "-verify", boxed.public, "-signature", tmp_path / "raw", tmp_path / "payload"])


def test_keys_of_others(debian, policy, tmp_path):
    """What OpenSSL's program makes: PKCS #8 plain and encrypted, the older form of elliptic curves, RSA."""
    name, secret = debian.fill("keys/of:1", [LAYER]), tmp_path / "secret"
    secret.write_text("abc\n")
    ways = {"plain": ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "encrypted": ["genpkey", "-aes256", "-pass", "pass:abc", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            "older": ["ecparam", "-genkey", "-noout", "-name", "prime256v1"],
            "rsa": ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]}
    for way, words in ways.items():
        private, public = tmp_path / f"{way}.key", tmp_path / f"{way}.pub"
        command(["openssl", *words, "-out", private])
        command(["openssl", "pkey", "-in", private, "-passin", "pass:abc", "-pubout", "-out", public])
        passphrase = ["--passphrase-file", secret] if way == "encrypted" else []
        refuse("verify", PLAIN, "--key", public, name, rc=1)
        proa("sign", PLAIN, "--key", private, *passphrase, name)
        proa("verify", PLAIN, "--key", public, name)
        policy.default({"type": "sigstoreSigned", "keyPath": str(public)})
        command([*policy.skopeo(), "copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{tmp_path}/{way}"])
