"""What a check in the guest is made of.

A check is a program check_NAME in this folder; `checks` runs each and it prints a line for each of its
cases, "ok CASE" (with a remark after a colon, perhaps) or "not ok CASE: why". test_guest.py wants exactly the
cases in the program's text: the functions case_CASE of a Python program, the lines "# case CASE" of any other.
A Python program ends with `checks.main(globals())`, which calls the functions one after the other; a
function that returns is ok, one that raises is not.
"""

import os
import re
import subprocess
import time
import traceback

PROA = "/opt/proa"


def cases(text):
    """The names of the cases in a program's text, in order."""
    return re.findall(r"^(?:def case_|# case )(\w+)", text, re.MULTILINE)


class Result:
    def __init__(self, argv, done):
        self.argv, self.code = argv, done.returncode
        self.out, self.err = done.stdout, done.stderr
        self.lines = self.out.splitlines()

    def __repr__(self):
        return f"{' '.join(self.argv)} gave {self.code}, out {self.out[-1500:]!r}, err {self.err[-1500:]!r}"


def command(*argv, check=True, timeout=60, **kw):
    """Runs a program; with check, its status must be 0."""
    argv = [str(a) for a in argv]
    if "input" not in kw:
        kw["stdin"] = subprocess.DEVNULL
    result = Result(argv, subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=timeout, **kw))
    if check:
        equal(result.code, 0, result)
    return result


def equal(found, wanted, what=""):
    if found != wanted:
        raise AssertionError(f"{found!r}, not {wanted!r}; {what!r}")


def true(value, what=""):
    if not value:
        raise AssertionError(repr(what))


def read(path):
    with open(path) as f:
        return f.read().strip()


def make_root(where, applets=("sh", "echo", "cat", "sleep", "true", "id", "mount", "ls", "dd")):
    """A root file system of busybox."""
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        os.makedirs(f"{where}/{name}", exist_ok=True)
    with open("/bin/busybox", "rb") as f, open(f"{where}/bin/busybox", "wb") as to:
        to.write(f.read())
    os.chmod(f"{where}/bin/busybox", 0o755)
    for name in applets:
        os.symlink("busybox", f"{where}/bin/{name}")
    return where


def main(names):
    for name, function in list(names.items()):
        if not name.startswith("case_"):
            continue
        start = time.monotonic()
        try:
            function()
            print(f"ok {name[5:]}: {time.monotonic() - start:.1f} s", flush=True)
        except Exception as e:  # whatever went wrong is this case's result
            at = traceback.extract_tb(e.__traceback__)
            mine = [f for f in at if "checks.py" not in f.filename] or at
            why = " ".join(f"{type(e).__name__}: {e} (line {mine[-1].lineno})".split())
            print(f"not ok {name[5:]}: {why}", flush=True)
