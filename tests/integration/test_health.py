"""Health checks of both kinds: by options and by the image, what they come to, and what ends them."""

from cli import inspect, proa, refuse, state, until


def health(name):
    return inspect(name)["State"].get("Health", {})


def status(name):
    return health(name).get("Status")


def shown(name):
    return proa("ps", "-a", "--filter", f"name={name}", "--format", "{{.Status}}").out


def run(name, flags, *options, command=("sleep", "100000")):
    proa("run", "-d", *flags, "--name", name, "--network", "none", *options, "busybox", *command, timeout=60)


def test_from_starting_to_healthy_to_unhealthy_and_back(name, flags):
    run(name, flags, "--health-cmd", "echo looked; test -e /well", "--health-interval", "200ms", "--health-retries", "2")
    assert status(name) in ("starting", "unhealthy")
    until(lambda: status(name) == "unhealthy", timeout=60)
    assert "(unhealthy)" in shown(name) and health(name)["FailingStreak"] >= 2
    log = health(name)["Log"]
    assert log[-1]["ExitCode"] == 1 and log[-1]["Output"] == "looked\n" and len(log) <= 5
    assert log[-1]["Start"] < log[-1]["End"]
    proa("exec", name, "touch", "/well")
    until(lambda: status(name) == "healthy", timeout=60)
    assert "(healthy)" in shown(name) and health(name)["FailingStreak"] == 0
    assert name in proa("ps", "--filter", "health=healthy", "--format", "{{.Names}}").lines
    assert name not in proa("ps", "--filter", "health=unhealthy", "--format", "{{.Names}}").lines
    # A new run begins anew, and the check goes with the end.
    proa("restart", "-t", "0", name, timeout=60)
    until(lambda: status(name) == "healthy", timeout=60)
    proa("rm", "-f", name, timeout=60)


def test_a_check_that_takes_too_long_is_ended(name, flags):
    run(name, flags, "--health-cmd", "exec sleep 7777", "--health-interval", "1h", "--health-timeout", "300ms",
        "--health-retries", "1")
    r = proa("healthcheck", "run", name, check=False)
    assert r.rc == 1 and status(name) == "unhealthy"
    assert "timeout" in health(name)["Log"][-1]["Output"] and health(name)["Log"][-1]["ExitCode"] == -1
    until(lambda: "7777" not in proa("top", name).out)
    proa("rm", "-f", name, timeout=60)


def test_failures_of_the_start_period_do_not_count(name):
    run(name, [], "--health-cmd", "exit 3", "--health-interval", "1h", "--health-start-interval", "100ms",
        "--health-start-period", "1h", "--health-retries", "1")
    until(lambda: len(health(name).get("Log", [])) >= 2)
    assert status(name) == "starting" and health(name)["FailingStreak"] == 0 and "(health: starting)" in shown(name)
    proa("pause", name)
    seen = len(health(name)["Log"])
    assert seen and proa("healthcheck", "run", name).rc == 0  # nothing is asked of who cannot answer
    proa("unpause", name)
    proa("rm", "-f", name)


def test_the_images_own_check(name, tmp_path):
    (tmp_path / "Containerfile").write_text('FROM busybox\nHEALTHCHECK --interval=200ms --retries=1 CMD ["test", "-e", "/ok"]\n'
                                            'CMD ["sleep", "100000"]\n')
    proa("build", "-q", "-t", "checked", tmp_path, timeout=60)
    try:
        proa("run", "-d", "--name", name, "checked")
        until(lambda: status(name) == "unhealthy")
        proa("rm", "-f", name)
        proa("run", "-d", "--name", name, "--health-cmd", "true", "checked")  # the rest is the image's
        until(lambda: status(name) == "healthy")
        proa("rm", "-f", name)
        proa("run", "-d", "--name", name, "--no-healthcheck", "checked")
        assert status(name) is None and "health" not in shown(name)
        refuse("healthcheck", "run", name, rc=1, say="no health check")
        proa("stop", "-t", "0", name)
        assert state(name) == "exited"
        refuse("healthcheck", "run", name, rc=1, say="not running")
    finally:
        proa("rm", "-f", name, check=False)
        proa("rmi", "checked")
        proa("builder", "prune", "-f")


def test_words(name):
    refuse("create", "--no-healthcheck", "--health-cmd", "true", "busybox", "true", say="--no-healthcheck excludes")
    refuse("create", "--health-interval", "soon", "busybox", "true", say="--health-interval")
