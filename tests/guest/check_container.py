#!/usr/bin/python3
"""The tests of src/runtime/container by itself (tests/integration/container_probe.c), on this kernel."""

import checks


def case_container_probe():
    result = checks.command("container_probe", checks.PROA + "/container.bpf", check=False, timeout=100)
    bad = [line for line in result.lines + result.err.splitlines() if line.startswith("not ok")]
    checks.equal((result.code, bad), (0, []), result)
    checks.true(result.out.rstrip().endswith(" 0 failed"), result)


if __name__ == "__main__":
    checks.main(globals())
