# SPDX-License-Identifier: Apache-2.0
"""Images as directories: mounted by clip, unpacked on the machine's disk, in other file systems.

What peers need is made once and kept in IMAGES/.peers. Mounts are made in the mount namespace that
enter_namespaces() gives, so none outlives us.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import BUILD, HERE, IMAGES, die, program, run

PEERS = IMAGES / ".peers"


def enter_namespaces(*kinds):
    """Runs this program again, as root in namespaces of its own: "mount", "net"."""
    if os.environ.get("CLIP_BENCH_INSIDE"):
        # killed, it ends as it does when it is done: no clipd, no scratch directory stays behind
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        die("needs root and /dev/fuse")
    os.environ["CLIP_BENCH_INSIDE"] = "1"
    os.execvp("unshare", ["unshare", *(f"--{kind}" for kind in kinds), *sys.argv])


def mounts_below(name):
    with open("/proc/self/mountinfo") as mounts:
        return [at for at in (line.split()[4] for line in mounts) if at.startswith(f"{name}/")]


@contextlib.contextmanager
def scratch():
    """A directory on the disk that the images are on, not on a tmpfs. What is mounted in it goes
    with it."""
    with tempfile.TemporaryDirectory(prefix=".run-", dir=IMAGES) as name:
        try:
            yield Path(name)
        finally:
            for at in reversed(mounts_below(name)):
                subprocess.run(["umount", "-l", at], check=False)


def compile_c(name, work, *libraries):
    out = work / name
    subprocess.run(["cc", "-O2", "-o", out, HERE / f"{name}.c", f"-I{HERE.parent}/include",
                    f"-L{BUILD}", f"-Wl,-rpath,{BUILD}", *libraries], check=True)
    return str(out)


def make_index(source, out):
    run([program("clip"), "index", "--quiet", source, str(out)])
    return out


class Host:
    """bench/host.c: one engine and one mapped image, with mounts made as we go."""

    def __init__(self, binary, index, cache, off=""):
        self.process = subprocess.Popen([binary, str(index), str(cache)], text=True, bufsize=1,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=os.environ | {"CLIP_FUSE_OFF": off})

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.stdin.close()
        if self.process.wait(timeout=30) != 0 and exception[0] is None:
            die("host did not end well")

    def _ask(self, command):
        self.process.stdin.write(command + "\n")
        answer = self.process.stdout.readline().split()
        if not answer:
            die(f"host gave no answer to: {command}")
        return answer

    def mount(self, at):
        """The seconds from the call until the tree could be used."""
        at.mkdir(parents=True, exist_ok=True)
        return int(self._ask(f"mount {at}")[1]) / 1e6

    def opening(self):
        """The seconds that the image took to be mapped and checked."""
        return int(self._ask("opened")[1]) / 1e6

    def requests(self):
        """How many the kernel has sent, by opcode."""
        answer = self._ask("requests")[1:]
        return dict(zip(answer[::2], map(int, answer[1::2])))

    def counters(self):
        answer = self._ask("counters")
        return dict(zip(answer[::2], map(int, answer[1::2])))

    def write_profile(self, index):
        """Of what was read through the first mount, into an index of its own."""
        self._ask(f"profile {index}")

    def rss(self):
        with open(f"/proc/{self.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


# -------------------------------------------------------------------------------- peers


def once(path, make):
    """make(temporary path) unless the path is there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".making")
        subprocess.run(["rm", "-rf", temporary], check=True)
        make(temporary)
        temporary.rename(path)
    return path


def quietly(*command):
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def unpacked(image):
    bundle = once(PEERS / image.name / "bundle",
                  lambda out: quietly("umoci", "unpack", "--image", f"{image.dir}:latest", out))
    return bundle / "rootfs"


def erofs(image, at):
    rootfs = unpacked(image)
    file = once(PEERS / image.name / "erofs",
                lambda out: quietly("mkfs.erofs", "-T0", out, rootfs))
    at.mkdir()
    quietly("mount", "-t", "erofs", "-o", "loop,ro", file, at)
    return at


def squashfuse(image, at):
    rootfs = unpacked(image)
    file = once(PEERS / image.name / "squashfs",
                lambda out: quietly("mksquashfs", rootfs, out, "-comp", "zstd"))
    at.mkdir()
    quietly("squashfuse_ll", "-o", "allow_other", file, at)
    return at


def peers(image, work, all_of_them):
    """{name: directory} of the peers whose tools this machine has; ext4 stands for its disk, and
    is all there is unless all are wanted."""
    found = {"ext4": unpacked(image)}
    if all_of_them and shutil.which("mkfs.erofs"):
        found["erofs"] = erofs(image, work / "erofs")
    if all_of_them and shutil.which("squashfuse_ll") and shutil.which("mksquashfs"):
        found["squashfuse_ll"] = squashfuse(image, work / "squashfuse")
    return found


# ---------------------------------------------------------------------------- containers


@contextlib.contextmanager
def container_root(lower, work):
    """As an engine would give it to a container: overlayfs over the tree, with /dev."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        root, upper, inner = (Path(name) / part for part in ("root", "upper", "work"))
        for part in (root, upper, inner):
            part.mkdir()
        quietly("mount", "-t", "overlay", "overlay", "-o",
                f"lowerdir={lower},upperdir={upper},workdir={inner}", root)
        (root / "dev").mkdir(exist_ok=True)
        quietly("mount", "--bind", "/dev", root / "dev")
        try:
            yield root
        finally:
            quietly("umount", "--recursive", root)


IMPORT = ["/usr/bin/python3", "-c", "import numpy, scipy.stats"]


def import_scipy(lower, work):
    with container_root(lower, work) as root:
        return run(["chroot", str(root), *IMPORT])
