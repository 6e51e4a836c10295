"""The command line itself: help, version, info, completion, manual pages, --root, concurrent roots."""

import json
import re
import subprocess

import pytest

from cli import BUILD, PROA, environment, proa, refuse

VERBS = ["run", "create", "start", "stop", "kill", "restart", "rm", "ps", "logs", "exec", "attach", "wait", "inspect", "top",
         "stats", "cp", "pause", "unpause", "rename", "import", "load", "images", "rmi", "tag", "network", "volume", "info",
         "version", "system"]


def test_help_names_every_verb():
    out = proa("--help").out
    for verb in VERBS:
        assert re.search(rf"^\s+{verb}\b", out, re.M), verb
    assert all(len(l) <= 100 for l in out.splitlines())


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help(verb):
    out = proa(verb, "--help").out
    assert out.lower().startswith("usage:") and f"proa {verb}" in out


def test_run_help_names_every_flag():
    out = proa("run", "--help").out
    for flag in ("--detach", "--rm", "--interactive", "--tty", "--name", "--env", "--workdir", "--user", "--volume", "--publish",
                 "--network", "--memory", "--cpus", "--pids-limit", "--entrypoint", "--hostname", "--label", "--vm", "--init",
                 "--restart"):
        assert flag in out, flag


def test_version():
    assert re.match(r"\d+\.\d+\.\d+", proa("version", "--format", "{{.Version}}", check=False).out or
                    re.search(r"\d+\.\d+\.\d+", proa("version").out).group())
    assert re.search(r"\d+\.\d+\.\d+", proa("--version").out)


def test_info():
    out = proa("info").out.lower()
    for word in ("containers", "images", "cgroup", "kernel", "/var/lib/proa"):
        assert word in out, word
    assert "tcg" in out or "kvm" in out


def test_output_to_a_full_device_is_an_error():
    with open("/dev/full", "w") as full:
        done = subprocess.run([PROA, "images"], stdout=full, stderr=subprocess.PIPE, env=environment(), stdin=subprocess.DEVNULL)
    assert done.returncode != 0


def test_closed_standard_descriptors():
    for closing in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(["sh", "-c", f'exec "$0" run --rm --network none busybox true {closing}', PROA], capture_output=True,
                              env=environment(), timeout=30)
        assert done.returncode in (0, 125, 1), (closing, done)


def test_another_root(tmp_path, busybox_layer):
    """--root and PROA_ROOT: a store of its own, however long its path."""
    root = tmp_path / ("long-" * 20)
    mount = ["unshare", "-m", "--propagation", "private"]
    script = f"mkdir -p {root} && mount -t tmpfs tmpfs {root} && {PROA} --root {root} import - own:1 && " \
             f"PROA_ROOT={root} {PROA} run -d --network none --name own own:1 sleep 100 && {PROA} --root {root} exec own echo hi && " \
             f"{PROA} --root {root} rm -f own && PROA_ROOT={root} {PROA} images -q own && {PROA} images -q own"
    done = subprocess.run([*mount, "sh", "-c", script], input=busybox_layer, capture_output=True, env=environment(), timeout=60)
    assert done.returncode == 0, done
    assert b"hi\n" in done.stdout and done.stdout.count(b"own") == 1, done


def test_programs_are_small_and_hardened():
    for program in ("proa", "proa-monitor"):
        out = subprocess.run(["readelf", "-hldW", f"{BUILD}/{program}"], capture_output=True, text=True, check=True).stdout
        assert "DYN (" in out and "GNU_RELRO" in out and ("BIND_NOW" in out or "NOW" in out or "no dynamic" in out.lower())
        assert not re.search(r"GNU_STACK.*RWE", out)


def test_start_path_links_little():
    """The command path that starts a container does not load archive, TLS or seccomp compilers."""
    out = subprocess.run(["ldd", PROA], capture_output=True, text=True).stdout
    for library in ("libarchive", "libssl", "libcurl", "libseccomp"):
        assert library not in out, library


def test_completion_and_manual():
    for shell in ("bash", "zsh", "fish"):
        r = proa("completion", shell)
        assert "proa" in r.out and r.out.count("\n") > 5
    done = subprocess.run(["bash", "-n"], input=proa("completion", "bash").out, text=True, capture_output=True)
    assert done.returncode == 0, done
    refuse("completion", "no-such-shell", rc=None)


def test_json_of_every_list(box):
    for args in (["ps", "-a"], ["images"], ["network", "ls"], ["volume", "ls"]):
        for line in proa(*args, "--format", "json").lines:
            json.loads(line)
