"""Bundles for proa-oci, written by hand, and proa-oci itself with a state directory of its own."""

import json
import os
import shutil
import subprocess
import uuid

from cli import BUILD

OCI = os.path.join(BUILD, "proa-oci")
APPLETS = ("cat chmod chown cp dd echo env false grep hostname id kill ln ls mkdir mkfifo mknod mount mv ps readlink "
           "rm sh sha256sum sleep stat sync tail test touch true tty umount uname wc").split()


class Result:
    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.lines = self.out.splitlines()

    def __repr__(self):
        return f"code {self.code}\nout: {self.out}\nerr: {self.err}"


class Runtime:
    """proa-oci with a root of its own below a folder; each command begins with prefix."""

    def __init__(self, folder, prefix=()):
        self.folder, self.root, self.prefix = str(folder), str(folder / "state"), prefix

    def __call__(self, *args, check=None, input="", timeout=60, prefix=(), **kw):
        done = subprocess.run([*self.prefix, *prefix, OCI, "--root", self.root, *map(str, args)], text=True, input=input,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, **kw)
        result = Result(done)
        if check is True:
            assert result.code == 0, result
        if check is False:
            assert result.code != 0, result
        return result

    def background(self, *args):
        """For create and run --detach: the container keeps the descriptors that it is given."""
        with open(self.folder + "/out", "ab") as out, open(self.folder + "/err", "w+") as err:
            done = subprocess.run([*self.prefix, OCI, "--root", self.root, *map(str, args)], stdin=subprocess.DEVNULL, stdout=out,
                                  stderr=err, timeout=60)
            err.seek(0)
            done.stderr = err.read()
        return done

    def state(self, name):
        return json.loads(self("state", name, check=True).out)

    def ids(self):
        return self("list", "-q", check=True).lines

    def output(self):
        with open(self.folder + "/out") as f:
            return f.read()

    def clear(self):
        for name in self.ids():
            self("delete", "--force", name)


class Bundle:
    """A busybox root file system and what `proa-oci spec` writes, changed as a test wants."""

    def __init__(self, folder):
        self.path = str(folder / uuid.uuid4().hex[:8])
        self.rootfs = self.path + "/rootfs"
        for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
            os.makedirs(f"{self.rootfs}/{name}")
        shutil.copy("/bin/busybox", self.rootfs + "/bin/busybox")
        for name in APPLETS:
            os.symlink("busybox", f"{self.rootfs}/bin/{name}")
        subprocess.run([OCI, "spec"], cwd=self.path, check=True)
        with open(self.path + "/config.json") as f:
            self.config = json.load(f)
        self.config["process"]["terminal"] = False
        self.config["root"]["readonly"] = False

    def write(self, *command):
        if command:
            self.config["process"]["args"] = list(command)
        with open(self.path + "/config.json", "w") as f:
            json.dump(self.config, f)
        return self

    def run(self, oci, *command, **kw):
        self.write(*command)
        return oci("run", "--bundle", self.path, "c-" + uuid.uuid4().hex[:8], **kw)

    def start(self, oci, *command):
        """Created and started; gives its name."""
        name = "c-" + uuid.uuid4().hex[:8]
        self.write(*command)
        done = oci.background("run", "--detach", "--bundle", self.path, name)
        assert done.returncode == 0, done.stderr
        return name
