# SPDX-License-Identifier: Apache-2.0
"""Debian's docker-registry on loopback, and containerd, which pulls from it."""

import contextlib
import shutil
import socket
import subprocess
import time
import urllib.request

from figures import die, drop_caches, run


def has_registry():
    return all(map(shutil.which, ("docker-registry", "skopeo")))


def has_containerd():
    return has_registry() and all(map(shutil.which, ("containerd", "ctr")))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def running(command, url, **options):
    """A server, once it answers."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             **options)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url, timeout=5).read()
                break
            time.sleep(0.05)
        else:
            die(f"nobody answers at {url}")
        yield
    finally:
        child.terminate()
        child.wait()


def registry(work, port):
    config = work / "registry.yml"
    config.write_text("version: 0.1\nlog: {level: error}\n"
                      f"storage: {{filesystem: {{rootdirectory: {work / 'store'}}}}}\n"
                      f"http: {{addr: 127.0.0.1:{port}}}\n")
    return running(["docker-registry", "serve", str(config)], f"http://127.0.0.1:{port}/v2/")


def push(image, port):
    subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false",
                    f"oci:{image.dir}:latest", f"docker://127.0.0.1:{port}/bench:1"], check=True)


def warm_up(work):
    """The registry's files are another machine's, and are not cold."""
    subprocess.run(f"find {work}/store -type f -exec cat {{}} +", shell=True, check=True,
                   stdout=subprocess.DEVNULL)


# ---------------------------------------------------------------------------- containerd


CONTAINERD = """
version = 2
root = "{0}/containerd"
state = "{0}/containerd-state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{0}/containerd.sock"
"""


@contextlib.contextmanager
def containerd(work):
    """ctr, as the beginning of a command."""
    config, ctr = work / "containerd.toml", ["ctr", "-a", f"{work}/containerd.sock"]
    config.write_text(CONTAINERD.format(work))
    child = subprocess.Popen(["containerd", "-c", str(config)], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            if subprocess.run([*ctr, "version"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode == 0:
                break
            time.sleep(0.05)
        else:
            die("containerd does not answer")
        yield ctr
    finally:
        child.terminate()
        child.wait()


@contextlib.contextmanager
def pulls(image, work):
    """A function that has containerd pull the image from nothing, and unpack it. Its time is that
    of the pull."""
    port = free_port()
    name = f"127.0.0.1:{port}/bench:1"
    with registry(work, port), containerd(work) as ctr:
        push(image, port)

        def pull():
            drop_caches()
            warm_up(work)
            result = run([*ctr, "image", "pull", "--plain-http", name])
            subprocess.run([*ctr, "image", "rm", "--sync", name], check=True,
                           stdout=subprocess.DEVNULL)
            return result

        yield pull
