"""build: each instruction by what it makes, the cache, reproducible results, and what is refused."""

import glob
import gzip
import os
import re
import shutil
import signal
import time

import pytest

import archives
import leaks
import registries
from building import TIME, config, content, context_tar, files, new_name, write
from cli import finish, proa, refuse, start, until

FROM = "FROM busybox\n"


@pytest.fixture(autouse=True)
def no_cache_left(house, leak_guard):
    yield
    proa("builder", "prune", "-f")


@pytest.fixture
def image():
    """A name for what a test builds; the image, and what else it named so, goes at the end."""
    chosen = new_name()
    yield chosen
    for name in proa("images", "--format", "{{.Repository}}:{{.Tag}}").lines:
        if name.startswith(chosen):
            proa("rmi", "-f", name)
    proa("image", "prune", "-f")


@pytest.fixture
def build(tmp_path, image):
    """Builds text with these files as context; gives the result with the id as .id."""
    def run(text, found=None, *flags, name=image, **kw):
        folder = write(str(tmp_path / "context"), {**(found or {}), "Containerfile": text})
        done = proa("build", "-t", name, "--network", "none", *flags, folder, **kw)
        done.id = done.lines[-1] if done.lines else ""
        return done
    return run


def bad(build, text, say, found=None, *flags):
    """A build that fails with one line that says these words, and leaves no image."""
    done = build(text, found, *flags, check=False)
    assert done.rc == 1, repr(done)
    last = done.err.strip().splitlines()[-1]
    for word in [say] if isinstance(say, str) else say:
        assert word in last, f"{word!r} not said: {done!r}"
    assert last.isprintable() and len(last) < 600, repr(done)


def test_steps_are_told(build, image):
    done = build(FROM + "RUN echo out; echo err >&2\nCMD [\"true\"]\n")
    assert done.lines[:2] == ["STEP 1/3: FROM busybox", "STEP 2/3: RUN echo out; echo err >&2"], repr(done)
    assert done.lines[2] == "out" and done.err == "err\n", repr(done)
    assert re.fullmatch("sha256:[0-9a-f]{64}", done.id)
    assert proa("image", "inspect", image).json[0]["Id"] == done.id


def test_quiet_and_iidfile(build, tmp_path):
    done = build(FROM + "RUN echo out", None, "-q", "--iidfile", tmp_path / "iid")
    assert done.lines == [done.id] and (tmp_path / "iid").read_text() == done.id
    done = build(FROM + "RUN echo out; echo why >&2; exit 7", None, "-q", check=False)
    assert done.out == "" and "why" in done.err and "Containerfile:2" in done.err and "exit code 7" in done.err, repr(done)


def test_several_names(build, image):
    build(FROM + "CMD x", None, "-t", image + "-2:v1")
    assert config(image) == config(image + "-2:v1")


def test_settings(build, image):
    build("""ARG TAG=latest
FROM busybox:$TAG
ENV A=1 B="two words" C='$A'
ENV A=2 D=$A
LABEL x.y="a b" z=$D
EXPOSE 80 90-91/udp
VOLUME /v ["/w"]
USER 1000:1000
STOPSIGNAL SIGUSR1
SHELL ["/bin/sh", "-ec"]
CMD echo $A
HEALTHCHECK --interval=5s --retries=2 CMD ["true"]
MAINTAINER me
ONBUILD RUN true
WORKDIR /a
WORKDIR b
""", None, "--label", "cli=1")
    c = config(image)
    s = c["config"]
    assert s["Env"][-4:] == ["A=2", "B=two words", "C=$A", "D=1"] and c["author"] == "me"
    assert s["Labels"] == {"x.y": "a b", "z": "1", "cli": "1"}
    assert set(s["ExposedPorts"]) == {"80/tcp", "90/udp", "91/udp"}
    assert (s["User"], s["StopSignal"], s["WorkingDir"]) == ("1000:1000", "SIGUSR1", "/a/b")
    assert s["Cmd"] == ["/bin/sh", "-ec", "echo $A"] and s["Shell"] == ["/bin/sh", "-ec"]
    assert s["Healthcheck"] == {"Test": ["CMD", "true"], "Interval": 5000000000, "Retries": 2}
    assert s["OnBuild"] == ["RUN true"] and c["os"] == "linux"
    assert files(image)["a/b"] == ("d", "0o755", 0, 0, "")
    assert len([h for h in c["history"] if not h.get("empty_layer")]) == len(c["rootfs"]["diff_ids"])


def test_entrypoint_forgets_the_command_of_the_base(build, image):
    build(FROM + "CMD base", name=image + "-base")
    build(f"FROM {image}-base\nENTRYPOINT [\"/x\"]")
    assert config(image)["config"].get("Cmd") is None
    build(f"FROM {image}-base\nCMD mine\nENTRYPOINT [\"/x\"]")
    assert config(image)["config"]["Cmd"][-1] == "mine"


def test_run_changes(build, image):
    build(FROM + "RUN echo hi >/etc/made && rm /etc/group && chown 1:2 /etc/passwd && ln /etc/made /etc/again"
          " && mkdir -m 1777 /d && rm -r /home && mkdir /home && touch /home/new && chmod 4755 /etc/made && mkfifo /d/p\n")
    f = files(image)
    assert f["etc/made"] == ("f", "0o4755", 0, 0, content("hi\n")) == f["etc/again"]
    assert "etc/group" not in f and f["etc/passwd"][2:4] == (1, 2) and f["d"][1] == "0o1777"
    assert "home/user" not in f and "home/new" in f and f["d/p"][0] == "o"


def test_run_leaves_no_places_behind(build, image):
    before = files("busybox")
    build(FROM + "RUN --mount=type=tmpfs,target=/t/u --mount=type=cache,target=/c true")
    assert files(image) == before
    assert len(config(image)["rootfs"]["diff_ids"]) == 1, "a step without changes has no layer"


def test_run_environment(build, image):
    done = build("ARG A=global\n" + FROM + """ARG A
ARG B=default
ARG C=hidden
ENV C=env
WORKDIR /tmp
USER user
RUN echo $A $B $C $X; pwd; id -u; hostname; grep CapEff /proc/self/status; grep -c . /proc/net/dev
""", None, "--build-arg", "B=given")
    out = done.lines[done.lines.index("global given env"):]
    assert out[1:4] == ["/tmp", "1000", "build"] and out[4].split()[1] == "0" * 16 and out[5] == "3", repr(done)
    assert "A=global" not in str(config(image)["config"])


def test_unused_argument_is_told(build):
    assert "NOPE" in build(FROM + "CMD x", None, "--build-arg", "NOPE=1").out


def test_run_exec_form_and_shell(build):
    done = build(FROM + 'RUN ["echo", "$HOME", "a  b"]\nSHELL ["/bin/sh", "-xc"]\nRUN echo x\n')
    assert "$HOME a  b" in done.lines and "+ echo x" in done.err, repr(done)


def test_run_heredocs(build, image):
    done = build(FROM + """RUN <<EOF
echo one
X=2; echo $X
EOF
RUN cat <<A >/a && cat <<-'B' >/b
a $HOME
A
	b $HOME
	B
RUN <<EOF
#!/bin/cat
shown
EOF
""")
    assert "one" in done.lines and "2" in done.lines and "shown" in done.lines, repr(done)
    f = files(image)
    assert f["a"][4] == content("a /root\n") and f["b"][4] == content("b $HOME\n")


def test_run_failure(build):
    bad(build, FROM + "\nRUN exit 3", ["Containerfile:3", "exit 3", "exit code 3"])
    bad(build, FROM + "RUN sh -c 'kill -9 $$'; exit $?", "exit code 137")
    bad(build, FROM + 'RUN ["/no/such"]', ["Containerfile:2", "/no/such", "no such file"])
    bad(build, FROM + "USER nobody-knows\nRUN true", "nobody-knows")


def test_run_ends_what_it_started(build):
    build(FROM + "RUN sleep 1000 & sleep 1000 >/dev/null 2>&1 &\nCMD x")


def test_network(build):
    done = build(FROM + "RUN --network=default ip -o addr show dev eth0; cat /etc/resolv.conf")
    assert "inet " in done.out and "nameserver" in done.out, repr(done)
    assert "up0" in build(FROM + "RUN --network=host ip -o link").out
    bad(build, FROM + "RUN --network=other true", "one of default, none, host")
    bad(build, FROM + "RUN --security=insecure true", "security")


def test_copy(build, image):
    build(FROM + """COPY f /one
COPY f sub /in/
COPY sub /existing
COPY ["a b", "/sp ace/"]
COPY l /link
COPY --chown=user:1 --chmod=0640 f /own/f
COPY --chown=7 f /own/n
COPY *.t s?b /g/
WORKDIR /rel
COPY f .
COPY f x
COPY f /etc
""", {"f": ("F", 0o600), "sub/a": "A", "sub/deep/b": ("B", 0o755), "a b": "S", "l": ("->", "f"), "sub/l": ("->", "../f"),
      "1.t": "1", "2.t": "2"})
    f = files(image)
    assert f["one"] == ("f", "0o600", 0, 0, content("F"))
    assert f["in/f"][4] == content("F") and f["in/a"][4] == content("A") and f["in/deep/b"][1] == "0o755"
    assert f["existing/l"] == ("l", "", 0, 0, "../f") and f["link"][4] == content("F")
    assert f["sp ace/a b"][4] == content("S")
    assert f["own/f"] == ("f", "0o640", 1000, 1, content("F")) and f["own/n"][2:4] == (7, 7) and f["own"][2:4] == (1000, 1)
    assert {"g/1.t", "g/2.t", "g/a", "g/deep/b"} <= set(f)
    assert {"rel/f", "rel/x", "etc/f"} <= set(f)


def test_copy_keeps_directories_of_the_image(build, image):
    build(FROM + "RUN mkdir -m 1770 /keep && chown 5:6 /keep && ln -s /keep /way && mkdir /keep/sub && chmod 700 /keep/sub\n"
          "COPY d /way\nCOPY d/f /way/new/\n", {"d/f": "F", "d/sub/g": "G"})
    f = files(image)
    assert f["keep"] == ("d", "0o1770", 5, 6, "") and f["keep/sub"][1] == "0o700" and f["way"][0] == "l"
    assert {"keep/f", "keep/sub/g", "keep/new/f"} <= set(f)


def test_copy_of_here_documents(build, image):
    build(FROM + "ENV V=x\nCOPY <<a <<'b' /d/\n$V\na\n$V\nb\nCOPY <<-c /e\n\t\ttabs\nc\n")
    f = files(image)
    assert f["d/a"][4] == content("x\n") and f["d/b"][4] == content("$V\n") and f["e"][4] == content("tabs\n")


def test_copy_from(build, image):
    build("FROM busybox AS one\nRUN echo 1 >/f && ln /f /g && chown 3:4 /f && mkdir /d && ln -s /f /d/l\n"
          "FROM scratch AS two\nCOPY --from=one /f /g /\nCOPY --from=0 /d /d\n"
          f"FROM {image}-none AS unneeded\nRUN false\n"
          "FROM two\nCOPY --from=busybox /etc/passwd /p\n")
    f = files(image)
    assert f["f"] == ("f", "0o644", 3, 4, content("1\n")) == f["g"] and f["d/l"] == ("l", "", 0, 0, "/f") and "p" in f


def test_target(build, image):
    text = "FROM busybox AS one\nENV S=1\nFROM one AS two\nENV S=2\n"
    build(text, None, "--target", "one")
    assert config(image)["config"]["Env"][-1] == "S=1"
    build(text, None, "--target", "1")
    assert config(image)["config"]["Env"][-1] == "S=2"
    bad(build, text, "no stage", None, "--target", "three")


def test_add_archives(build, image):
    tar = context_tar({"x/y": "in it"})
    build(FROM + "ADD a.tar a.tgz /dst/\nCOPY a.tar /dst/\nADD no.tar /dst/\nADD --chown=9:9 a.tar /own", {
        "a.tar": tar, "a.tgz": gzip.compress(context_tar({"z": "zz"})), "no.tar": b"\x1f\x8bnothing"})
    f = files(image)
    assert f["dst/x/y"][4] == content("in it") and f["dst/z"][4] == content("zz") and f["dst/a.tar"][4] == content(tar)
    assert f["dst/no.tar"][4] == content(b"\x1f\x8bnothing") and f["own/x/y"][2:4] == (9, 9)


def test_ignore(build, image):
    build(FROM + "COPY . /c/\n", {".dockerignore": "# no\n*.log\n!keep.log\nsecret\n**/tmp\n!deep/tmp/yes\n", "a": "a", "b.log": "",
                                  "keep.log": "", "secret/x": "", "deep/tmp/no": "", "deep/tmp/yes": "", "tmp": "file"})
    got = {n for n in files(image) if n.startswith("c/")}
    assert got == {"c/.dockerignore", "c/Containerfile", "c/a", "c/keep.log", "c/deep", "c/deep/tmp", "c/deep/tmp/yes"}
    bad(build, FROM + "COPY secret/x /", "secret/x")


def test_mounts(build, image, tmp_path, monkeypatch):
    (tmp_path / "s").write_text("hidden")
    monkeypatch.setenv("TOKEN", "from the environment")
    done = build("FROM busybox AS other\nRUN echo stage >/made\n" + FROM + """
RUN --mount=type=bind,source=f,target=/b --mount=type=bind,from=other,target=/o,ro cat /b /o/made && ! touch /o/x
RUN --mount=type=bind,target=/b,rw touch /b/new && ls /b
RUN --mount=type=cache,target=/c,id=k echo again >>/c/f
RUN --mount=type=cache,target=/else,id=k,sharing=locked cat /else/f
RUN --mount=type=secret,id=s cat /run/secrets/s; ls -l /run/secrets/s
RUN --mount=type=secret,id=t,env=TOKEN echo $TOKEN
RUN --mount=type=secret,id=absent test ! -e /run/secrets/absent
RUN --mount=type=tmpfs,target=/t,size=1m df /t
""", {"f": "bound\n"}, "--secret", f"id=s,src={tmp_path}/s", "--secret", "id=t,env=TOKEN")
    assert {"bound", "stage", "new", "again"} <= set(done.lines) and "-r--------" in done.out, repr(done)
    assert "hidden" in done.out and "from the environment" in done.lines and " 1024 " in done.out, repr(done)
    assert not os.path.exists(tmp_path / "context/new")
    f = files(image)
    assert not {"b", "c", "else", "t", "o", "run/secrets", "run/secrets/s"} & set(f)
    assert "hidden" not in str(config(image)) and "from the environment" not in str(config(image))


def test_bound_context_hides_what_is_ignored(build, image):
    found = {".dockerignore": "secret\nd/*.log\n!d/keep.log\nempty", "secret/x": "", "d/a.log": "", "d/keep.log": "", "d/b": "", "empty": ""}
    done = build(FROM + "RUN --mount=type=bind,target=/c cd /c && find . | sort && ! touch /c/x\n"
                 "RUN --mount=type=bind,source=d,target=/e,rw cd /e && touch new && ls\n", found)
    listed = done.lines[2:]
    assert listed[:6] == [".", "./.dockerignore", "./Containerfile", "./d", "./d/b", "./d/keep.log"], repr(done)
    assert listed[listed.index("b"):][:3] == ["b", "keep.log", "new"]
    bad(build, FROM + "RUN --mount=type=bind,source=secret/x,target=/s cat /s", "secret/x", found)


def test_mounts_refused(build):
    for mount, say in (("type=ssh", "ssh"), ("type=secret,id=no,required", "no"), ("type=odd", "odd"),
                       ("type=bind,target=/x,odd=1", "odd=1"), ("type=cache", "target"), ("type=bind,source=none,target=/x", "none")):
        bad(build, FROM + f"RUN --mount={mount} true", say)


def test_onbuild(build, image):
    build(FROM + "ONBUILD COPY f /from-child\nONBUILD RUN echo triggered", name=image + "-base")
    done = build(f"FROM {image}-base\nRUN cat /from-child", {"f": "F\n"})
    assert {"triggered", "F"} <= set(done.lines) and "OnBuild" not in config(image)["config"]


def used(done):
    return done.lines.count("--> Using cache")


def test_cache(build):
    text = FROM + "ARG V=1\nRUN echo $V >/v\nCOPY d /d\nRUN cat /d/f\nLABEL a=b\n"
    first = build(text, {"d/f": "1"})
    again = build(text, {"d/f": "1"})
    assert (used(first), used(again), first.id) == (0, 3, again.id), repr(again)
    other = build(text, {"d/f": "2"})
    assert used(other) == 1 and other.id != first.id
    assert used(build(text, {"d/f": ("1", 0o600)})) == 1, "a mode is part of it"
    back = build(text.replace("a=b", "a=c"), {"d/f": ("1", 0o644)})
    assert used(back) == 3 and back.id != first.id, "a label changes no file"
    assert used(build(text, {"d/f": "1"}, "--build-arg", "V=2")) == 0
    assert used(build(text, {"d/f": "1"}, "--no-cache")) == 0
    proa("builder", "prune", "-f")
    assert used(build(text, {"d/f": "1"})) == 0


def test_cache_sees_what_is_written_in_place(build, image):
    """Same size, and the time put back: the inode's own time of change tells."""
    build(FROM + "COPY f /f", {"f": "one"})
    time.sleep(3)  # digests of files that were just written are not kept
    assert used(build(FROM + "COPY f /f", {})) == 1
    assert used(build(FROM + "COPY f /f", {})) == 1
    done = build(FROM + "COPY f /f", {"f": "two"})
    assert used(done) == 0 and files(image)["f"][4] == content("two")


def test_cached_layers_outlive_their_image(build, image):
    build(FROM + "RUN echo x >/x")
    proa("rmi", image)
    assert used(build(FROM + "RUN echo x >/x")) == 1
    assert files(image)["x"][4] == content("x\n")


def test_cache_is_counted_and_pruned(build, image):
    def kept():
        return next(l.split("|")[1:] for l in proa("system", "df", "--format", "{{.Type}}|{{.TotalCount}}|{{.Size}}").lines
                    if l.startswith("Build cache"))
    assert kept() == ["0", "0B"]
    build(FROM + "RUN --mount=type=cache,target=/c dd if=/dev/zero of=/big bs=1k count=500 && cp /big /c/")
    assert kept()[0] == "2", "the step and the image"
    proa("rmi", image)
    assert kept()[1].startswith("1.0"), "the layer and the cache mount"
    proa("builder", "prune", "-f", "--older-than", "1h")
    assert kept()[0] == "2"
    assert "Total reclaimed space: 1.0" in proa("builder", "prune", "-f").out
    assert kept() == ["0", "0B"]


def test_prune_waits_for_no_build(tmp_path, image):
    folder = write(str(tmp_path / "c"), {"Containerfile": FROM + "RUN sleep 5; echo done >/x\n"})
    process = start("build", "-t", image, "--network", "none", folder)
    until(lambda: any("sleep 5" in p for p in leaks.processes()), message="it does not run")
    refuse("builder", "prune", "-f", rc=1, say="a build is running")
    assert finish(process).rc == 0


def test_failed_build_goes_on_from_where_it_was(build):
    bad(build, FROM + "RUN echo x >/x\nRUN test -e /y", "Containerfile:3")
    assert used(build(FROM + "RUN echo x >/x\nRUN test -e /x")) == 1


def test_reproducible(image, tmp_path, busybox_layer):
    """The same in another store, later, and of another copy of the context."""
    text = f"FROM {image}-base\nWORKDIR /w\nCOPY d d\nRUN echo x >/f; mkdir -p /q/r; touch /q/r/s\nCMD x\n"
    base, root, ids = tmp_path / "base.tar", "/var/lib/proa/other-root", []
    base.write_bytes(archives.docker_archive([busybox_layer], name=f"{image}-base"))
    for number, where in enumerate(([], ["--root", root])):
        proa(*where, "load", "-i", base)
        folder = write(str(tmp_path / f"context{number}"), {"d/b": "B", "d/a": "A", "d/c": "C", "Containerfile": text}, times=False)
        ids.append(proa(*where, "build", "-t", image, "--network", "none", "--source-date-epoch", TIME, folder).lines[-1])
        time.sleep(1.1)
    again = proa("build", "--no-cache", "-t", image, "--network", "none", str(tmp_path / "context0"), env={"SOURCE_DATE_EPOCH": str(TIME)})
    made = config(image)
    proa("--root", root, "rmi", "-f", image, f"{image}-base")
    proa("--root", root, "builder", "prune", "-f")
    shutil.rmtree(root)
    for path in glob.glob("/run/proa-[0-9a-f]*"):
        shutil.rmtree(path)
    assert ids[0] == ids[1] == again.lines[-1]
    assert made["created"].startswith("2020-09-13T12:26:40") and {h.get("created", "")[:4] for h in made["history"]} <= {"2020", ""}


def test_squash(build, image):
    build(FROM + "RUN echo 1 >/a; echo 2 >/b; rm /etc/group\nRUN rm /a; rm -r /home; mkdir /home\nCOPY f /f\n", {"f": "F"}, "--squash")
    f = files(image)
    assert len(config(image)["rootfs"]["diff_ids"]) == 2
    assert "a" not in f and "etc/group" not in f and "home/user" not in f and {"b", "f", "home", "bin/sh"} <= set(f)


def test_stdin(image):
    done = proa("build", "-t", image, "--network", "none", "-", input=FROM + "RUN echo text")
    assert "text" in done.lines
    without = proa("build", "-", input=FROM + "COPY a /", check=False)
    assert without.rc == 1 and "no context" in without.err
    done = proa("build", "-t", image, "--network", "none", "-", binary=True,
                input=context_tar({"Dockerfile": FROM + "COPY a /\nRUN cat /a", "a": "A\n"}))
    assert b"A" in done.out.splitlines()


def test_file_names(tmp_path, image):
    folder = write(str(tmp_path / "c"), {"x/Other": FROM + "COPY y /y", "y": "Y", "Dockerfile": FROM + "COPY x /x",
                                         "x/Other.dockerignore": "z\n"})
    proa("build", "-t", image, "-f", folder + "/x/Other", folder)
    proa("build", "-t", image, "-f", "x/Other", folder)
    proa("build", "-t", image, folder)
    proa("build", "-t", image, cwd=folder)
    proa("build", "-t", image, "-f", "-", folder, input=FROM + "COPY y /y")
    assert "y" in files(image)


REFUSED = [
    ("RUN x", "before the first FROM"), (FROM + "RUNN x", ["Containerfile:2", "RUNN"]), ("FROM no-such-image", ["Containerfile:1", "no such image"]),
    (FROM + "COPY nothing /", ["Containerfile:2", "nothing"]), (FROM + "COPY ../x /", "x"), (FROM + "COPY *.no /", "*.no"),
    (FROM + "ADD https://example.org/x /", "curl"), (FROM + "COPY --chown=nobody-knows f /", "nobody-knows"), (FROM + "COPY --chmod=u+x f /", "octal"),
    (FROM + "COPY f f2 /d", "ends with"), (FROM + "COPY f /etc/passwd/x", "no directory"), (FROM + "COPY --from=$X f /", "variable"),
    (FROM + "COPY d /etc/passwd", "no directory"), ("FROM --platform=linux/sparc busybox", "sparc"), ("FROM $NOTHING", "no value"),
    (FROM + "STOPSIGNAL NOPE", "NOPE"), (FROM + "EXPOSE 0", "EXPOSE"), (FROM + "ENV ${X", "ENV"), (FROM + "LABEL a=${b?why}", "why"),
    (FROM + "HEALTHCHECK --interval=x CMD y", "interval"), (FROM + "ADD --checksum=x f /", "checksum"),
]


@pytest.mark.parametrize("text,say", REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_refused(build, text, say):
    bad(build, text, say, {"f": "F", "f2": "F", "d/x": "X"})


def test_refused_options(tmp_path):
    refuse("build", tmp_path / "none", rc=1, say="none")
    refuse("build", tmp_path, rc=1, say="Containerfile")
    refuse("build", "https://example.org/x.git", rc=1, say="clone")
    refuse("build", "--source-date-epoch", "x", tmp_path, rc=1, say="seconds")
    refuse("build", "--progress", "x", tmp_path, rc=1, say="plain")
    refuse("build", "-t", "UPPER", tmp_path, rc=1, say="UPPER")


def test_hostile_context(build, image, tmp_path):
    """Links lead nowhere but into the context; what is no file is not opened."""
    (tmp_path / "outside").write_text("outside")
    found = {"abs": ("->", str(tmp_path / "outside")), "up": ("->", "../outside"), "etc": ("->", "/etc"), "d/f": "x", "loop": ("->", "loop")}
    for name in ("abs", "up", "etc/passwd", "loop"):
        bad(build, FROM + f"COPY {name} /x", name, found)
    os.mkfifo(tmp_path / "context/d/pipe")
    os.mkdir(tmp_path / "context/d" / ("n" * 255))
    build(FROM + "COPY d /d\n")
    f = files(image)
    assert f["d/pipe"][0] == "o" and "d/" + "n" * 255 in f
    for name in (".wh.f", "w/.wh..wh..opq"):
        bad(build, FROM + "COPY . /all", "would hide another file", {name: "x"})
        os.unlink(tmp_path / "context" / name)
    bad(build, FROM + "COPY d/f /.wh.etc", "would hide another file")
    bad(build, FROM + "WORKDIR /.wh.etc/x", "would hide another file")


def test_hostile_image(build, image):
    """Links of the image lead nowhere but into the image."""
    build(FROM + "RUN ln -s /../../../tmp /out; ln -s ../../../../../etc /etc/up\nCOPY f /out/f\nCOPY f /etc/up/new\n", {"f": "x"})
    f = files(image)
    assert f["tmp/f"][4] == content("x") and f["etc/new"][4] == content("x")
    bad(build, FROM + "RUN ln -s /nowhere /out\nCOPY f /out/f", "/out", {"f": "x"})


@pytest.mark.vm
def test_steps_in_machines(build, image, tmp_path):
    """The same result as in containers, made behind a kernel of its own."""
    text = FROM + """RUN uname -r; id -u; pwd; echo $A
ENV A=1
WORKDIR /w
RUN --network=default ip -o addr show dev eth0; echo hi >made && rm /etc/group && ln made again && mkdir -m 1777 /d && chown 1:2 made
RUN --mount=type=bind,source=f,target=/b/f --mount=type=cache,target=/c cat /b/f && echo x >/c/x
"""
    done = build(text, {"f": "bound\n"}, "--vm", "--source-date-epoch", TIME, timeout=180)
    assert os.uname().release not in done.lines and "inet " in done.out and "bound" in done.lines, repr(done)
    machines = files(image)
    again = build(text, {"f": "bound\n"}, "--source-date-epoch", TIME)
    assert files(image) == machines and "b" not in machines and "c" not in machines
    assert len(config(image)["rootfs"]["diff_ids"]) == 3 and used(again) == 1, "WORKDIR runs nothing"
    bad(build, FROM + "RUN exit 5", ["Containerfile:2", "exit code 5"], None, "--vm")


@pytest.mark.vm
def test_machine_is_gone_after_a_kill(tmp_path, image):
    folder = write(str(tmp_path / "c"), {"Containerfile": FROM + "RUN echo started; exec sleep 1234"})
    proa("run", "--rm", "--vm", "busybox", "true", timeout=60)
    before = leaks.snapshot()
    for end in (signal.SIGINT, signal.SIGKILL):
        process = start("build", "--vm", "--network", "none", folder)
        until(lambda: any("qemu" in p for p in leaks.processes()), message="it does not run")
        time.sleep(4)
        process.send_signal(end)
        done = finish(process, timeout=60)
        assert done.rc == (130 if end != signal.SIGKILL else -9), repr(done)
        proa("ps")
        extra, gone = leaks.settled(before, timeout=20)
        assert not extra and not gone, f"after {end!r}: left {extra}, missing {gone}"


def test_base_images_are_pulled(tmp_path, image):
    """What is missing is got; --pull asks for what is newer."""
    (tmp_path / "registry").mkdir()
    layer = archives.busybox_tree().add("etc/of-the-registry", "x").bytes()
    plain = ["--network", "none", "--tls-verify=false"]
    with registries.Debian(tmp_path / "registry") as registry:
        name = registry.fill("base:1", [layer], Env=["V=1"])
        folder = write(str(tmp_path / "c"), {"Containerfile": f"FROM {name}\nRUN echo $V >/v\nCOPY --from={name} /etc/of-the-registry /copy\n"})
        try:
            proa("build", "-t", image, *plain, folder)
            first = files(image)
            registry.fill("base:1", [layer], Env=["V=2"])
            proa("build", "-t", image, *plain, folder)
            assert files(image) == first and first["v"][4] == content("1\n") and "copy" in first
            proa("build", "-t", image, "--pull", *plain, folder)
            assert files(image)["v"][4] == content("2\n")
            proa("push", "--tls-verify=false", image, f"{registry.host}/built:1")
            refuse("build", "-t", image, "--tls-verify=false", "-", input=f"FROM {registry.host}/none:1", rc=1, say="none")
        finally:
            for other in proa("images", "--format", "{{.Repository}}:{{.Tag}}").lines:
                if registry.host in other:
                    proa("rmi", "-f", other)
            proa("image", "prune", "-f")


def test_interrupt_and_kill_leave_nothing(tmp_path, image):
    folder = write(str(tmp_path / "c"), {"Containerfile": FROM + "RUN --network=default echo started; exec sleep 1234"})
    proa("build", "-q", "-t", image, "-", input=FROM + "RUN --network=default true")  # what is kept prepared
    before = leaks.snapshot()
    for end in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        process = start("build", folder)
        until(lambda: any("sleep 1234" in p for p in leaks.processes()), message="it does not run")
        process.send_signal(end)
        done = finish(process)
        assert done.rc == (130 if end != signal.SIGKILL else -9), repr(done)
        proa("ps")  # the next command, which repairs
        extra, gone = leaks.settled(before)
        assert not extra and not gone, f"after {end!r}: left {extra}, missing {gone}"


def test_two_builds_at_once(tmp_path, image):
    folders = [write(str(tmp_path / f"c{i}"), {"Containerfile": FROM + f"RUN sleep 0.3; echo {i % 2} >/n\nRUN cat /n\n"}) for i in (0, 1, 3)]
    running = [start("build", "-t", f"{image}-{i}", "--network", "none", f) for i, f in enumerate(folders)]
    for process in running:
        done = finish(process)
        assert done.rc == 0, repr(done)
    assert files(image + "-0")["n"][4] == content("0\n") and files(image + "-2")["n"][4] == content("1\n")
