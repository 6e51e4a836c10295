"""The README's tour is what it says: its commands are taken from the file and run, in both languages."""

import os
import re
import subprocess

import pytest

from cli import BUILD, environment
from sandbox import TOP


def tour(name):
    text = open(os.path.join(TOP, name), encoding="utf-8").read()
    found = re.search(r"<!-- tour -->\n```sh\n(.*?)```", text, re.S)
    assert found, f"{name} has no tour"
    return found.group(1)


def test_the_languages_agree():
    """The same commands, whatever the comments say."""
    def commands(name):
        return [re.sub(r"\s*#.*", "", l) for l in tour(name).splitlines() if re.sub(r"\s*#.*", "", l)]
    assert commands("README.md") == commands("README.ja.md")

    def fences(name):
        return re.findall(r"```(\w*)\n", open(os.path.join(TOP, name), encoding="utf-8").read())

    def headings(name):
        return [l.count("#") for l in open(os.path.join(TOP, name), encoding="utf-8") if re.match(r"#+ ", l)]
    assert fences("README.md") == fences("README.ja.md") and headings("README.md") == headings("README.ja.md")


@pytest.mark.slow
@pytest.mark.vm
def test_the_tour():
    done = subprocess.run(["sh", "-eu"], input=tour("README.md"), text=True, capture_output=True, cwd=TOP,
                          env=environment({"PATH": f"{BUILD}:{os.environ['PATH']}"}), timeout=240)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.count("Hello from Debian") >= 2, done.stdout
