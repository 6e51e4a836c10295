"""Driving the built programs as a person would."""

import json
import os
import signal
import subprocess
import time

import stuck
from sandbox import STATE, TOP

BUILD = os.path.abspath(os.environ.get("PROA_BUILD", os.path.join(TOP, "build")))
PROA = os.path.join(BUILD, "proa")
# Sanitizers, and a machine without hardware virtualisation, cost time.
PATIENCE = 4 if "asan" in os.path.basename(BUILD) else 1


class Result:
    def __init__(self, argv, rc, out, err, seconds):
        self.argv, self.rc, self.out, self.err, self.seconds = argv, rc, out, err, seconds

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        def text(s):
            return s if isinstance(s, str) else repr(s[:400])
        return f"{' '.join(self.argv)}\n  rc {self.rc} after {self.seconds:.2f}s\n  out: {text(self.out)[-2000:]}\n" \
               f"  err: {text(self.err)[-2000:]}"


def clock_is_right(exec_date):
    """A machine's clock is the host's, to within what it takes to tell it. exec_date: gives what `date +%s` says inside."""
    before = time.time()
    there = int(exec_date())
    assert before - 2 <= there <= time.time() + 1, f"{there - before:.0f} s"


class Failed(AssertionError):
    pass


def environment(extra=None):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PROA_")}
    env.update(extra or {})
    return env


def command(argv, input=None, timeout=60, check=True, env=None, binary=False, cwd=None, shown=None):
    """Runs one program. check: rc 0 is wanted. input: text or bytes for stdin, else /dev/null."""
    argv = [str(a) for a in argv]
    start = time.monotonic()
    if isinstance(input, str) and not binary:
        data = input.encode()
    else:
        data = input
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(env), cwd=cwd)
    try:
        out, err = process.communicate(data, timeout=timeout * PATIENCE)
    except subprocess.TimeoutExpired as e:
        seen = stuck.report(STATE)
        process.kill()
        process.wait()
        raise Failed(f"{' '.join(argv)}: no end after {timeout} s; out {e.stdout!r} err {e.stderr!r}\n  {seen}") from None
    if not binary:
        out, err = out.decode(errors="replace"), err.decode(errors="replace")
    result = Result(shown or argv, process.returncode, out, err, time.monotonic() - start)
    if check and result.rc != 0:
        raise Failed(repr(result))
    return result


def proa(*args, prefix=(), **kw):
    return command([*prefix, PROA, *args], shown=["proa", *[str(a) for a in args]], **kw)


def start(*args, **kw):
    """A command left running in a session of its own; the caller ends it with finish().

    It hears SIGINT, which whoever runs the tests in the background may have ignored for all below.
    """
    kw.setdefault("stdin", subprocess.DEVNULL)
    kw.setdefault("stdout", subprocess.PIPE)
    kw.setdefault("stderr", subprocess.PIPE)
    return subprocess.Popen([PROA, *[str(a) for a in args]], start_new_session=True,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                            env=environment(kw.pop("env", None)), **kw)


def finish(process, timeout=30, kill=False):
    if kill:
        process.send_signal(signal.SIGKILL)
    out, err = process.communicate(timeout=timeout * PATIENCE)
    return Result(["proa", *process.args[1:]], process.returncode, (out or b"").decode(errors="replace"),
                  (err or b"").decode(errors="replace"), 0)


def refuse(*args, rc=125, say=None, **kw):
    """A command that must fail: with this status, nothing on stdout and one clear line on stderr."""
    result = proa(*args, check=False, **kw)
    text = result.err.strip()
    assert result.rc == rc if rc is not None else result.rc != 0, repr(result)
    assert text, f"silent failure: {result!r}"
    assert len(text.splitlines()) == 1, f"not one line: {result!r}"
    assert len(text) < 600 and text.isprintable(), f"not a clear line: {result!r}"
    for word in ([say] if isinstance(say, str) else say or []):
        assert word.lower() in text.lower(), f"{word!r} not said: {result!r}"
    return result


def until(what, timeout=15, every=0.05, message="it never came true"):
    """Waits for what() to be true and gives its value."""
    end = time.monotonic() + timeout * PATIENCE
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(message() if callable(message) else message)
        time.sleep(every)


def ended(pid):
    """Whether that process is gone, or waits for its parent only."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def inspect(name, *kind):
    return proa(*kind, "inspect", name).json[0]


def state(name):
    return inspect(name)["State"]["Status"]
