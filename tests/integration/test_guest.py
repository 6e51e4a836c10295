"""The checks of tests/guest, run once for the session in a Debian guest with systemd and control groups v2.

Each case that a check's text names is a test here; a case that printed nothing has failed.
"""

import glob
import os
import re
import sys

import pytest

from cli import BUILD, PATIENCE
from sandbox import TOP

GUEST = os.path.join(TOP, "tests/guest")
sys.path.insert(0, GUEST)

import checks  # noqa: E402
import machine  # noqa: E402

pytestmark = [pytest.mark.vm, pytest.mark.slow]


def wanted():
    """(check, case) for all executable checks."""
    for path in sorted(glob.glob(os.path.join(GUEST, "check_*"))):
        if os.access(path, os.X_OK):
            with open(path) as f:
                for case in checks.cases(f.read()):
                    yield os.path.basename(path), case


def results(output):
    """What was said about each (check, case), and what else each check printed."""
    found, rest, check = {}, {}, None
    for line in output.splitlines():
        if match := re.match(r"begin (\S+)$", line):
            check = match[1]
        elif check and (match := re.match(r"((?:not )?ok) (\w+)(?:: (.*))?$", line)):
            found.setdefault((check, match[2]), []).append((match[1] == "ok", match[3] or ""))
        else:
            rest.setdefault(check, []).append(line)
    return found, rest


@pytest.fixture(scope="session")
def guest(house, fetched):
    result = machine.run(BUILD, "exec /opt/proa/guest/checks", seconds=1200 * PATIENCE)
    return *results(result.output), result


def test_guest_ends_well(guest):
    _, rest, result = guest
    assert result.status == 0, result.output
    for check in {check for check, _ in wanted()}:
        assert f"end {check} 0" in rest.get(check, []), rest.get(check)


def test_no_case_is_unknown(guest):
    assert set(guest[0]) - set(wanted()) == set()


def test_a_guest_that_does_not_end_is_ended(house, fetched):
    with pytest.raises(machine.Failed, match="did not end within 3 s"):
        machine.run(BUILD, "sleep 1000", seconds=3)


@pytest.mark.parametrize("check,case", wanted())
def test_check(guest, check, case):
    found, rest, _ = guest
    said = found.get((check, case), [])
    assert len(said) == 1, f"{case} said {said}; {check} printed {rest.get(check)}"
    assert said[0][0], said[0][1]
