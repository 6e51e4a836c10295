"""proa-oci and proa where system calls are missing: what is newer than Linux 5.15 is done without, what is older is named.

tests/guest/deny.c makes the calls fail with ENOSYS, as an older kernel does; test_guest.py runs on one.
"""

import os
import subprocess

import pytest

from cli import BUILD, proa
from oci_bundle import Bundle, Runtime

DENY = os.path.join(BUILD, "tests/guest/deny")
NEWER = ["set_mempolicy_home_node", "cachestat", "fchmodat2", "statmount,listmount", "lsm_get_self_attr", "open_tree_attr",
         "process_mrelease,futex_waitv"]
NEEDED = ["openat2", "clone3", "open_tree", "move_mount", "mount_setattr", "close_range", "fsopen", "fsconfig", "fsmount",
          "pidfd_open", "pidfd_open,pidfd_send_signal"]
OPTIONAL = ["bpf", "keyctl", "pidfd_send_signal", "memfd_create", "landlock_create_ruleset", "userfaultfd,perf_event_open,io_uring_setup"]


@pytest.fixture
def oci(tmp_path):
    runtime = Runtime(tmp_path)
    yield runtime
    runtime.clear()


@pytest.fixture
def bundle(tmp_path):
    return Bundle(tmp_path)


def denied(oci, calls, *args):
    return oci(*args, prefix=[DENY, calls, "--"])


def test_deny_denies():
    done = subprocess.run([DENY, "openat2,fchmodat2,uname", "--", "uname", "-r"], capture_output=True, text=True)
    assert done.returncode != 0 and "Function not implemented" in done.stderr
    done = subprocess.run([DENY, "nosuchcall", "--", "true"], capture_output=True, text=True)
    assert done.returncode == 125 and "nosuchcall" in done.stderr


@pytest.mark.parametrize("calls", NEWER + OPTIONAL)
def test_what_is_newer_is_done_without(oci, bundle, calls):
    bundle.write("sh", "-c", "echo hi; exit 3")
    done = denied(oci, calls, "run", "--bundle", bundle.path, "c")
    assert (done.code, done.out, done.err) == (3, "hi\n", "")


@pytest.mark.parametrize("calls", NEEDED)
def test_what_is_needed_is_said(oci, bundle, calls):
    bundle.write("echo", "hi")
    done = denied(oci, calls, "run", "--bundle", bundle.path, "c")
    assert done.code == 1 and done.out == "", done
    assert len(done.err.splitlines()) == 1 and "Linux 5.15 or later is needed" in done.err, done
    assert oci.ids() == []


def test_what_cannot_be_looked_at_is_not_taken_for_stopped(oci, bundle):
    name = bundle.start(oci, "sleep", "1000")
    for verb in (["delete"], ["kill"], ["exec"]):
        done = denied(oci, "pidfd_open", *verb, name, *(["true"] if verb == ["exec"] else []))
        assert done.code != 0 and len(done.err.splitlines()) == 1, done
        assert oci.state(name)["status"] == "running"


@pytest.mark.parametrize("calls", [",".join(NEWER), "clone3"])
def test_proa_runs_or_says_why(calls):
    done = proa("run", "--rm", "--network", "none", "busybox", "echo", "hi", prefix=[DENY, calls, "--"], check=False)
    if calls == "clone3":
        assert done.rc == 125 and "Linux 5.15 or later is needed" in done.err and len(done.err.splitlines()) == 1, done
    else:
        assert (done.rc, done.out, done.err) == (0, "hi\n", ""), done
