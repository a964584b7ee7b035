# SPDX-License-Identifier: Apache-2.0
"""A clipd of our own, asked through its socket."""

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import time

from figures import program


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("clipd")
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)


class Daemon:
    def __init__(self, work):
        self.run = work / "run"
        self.process = subprocess.Popen(
            [program("clipd"), "serve", "--root", str(work / "root"), "--run", str(self.run),
             "--cache-dir", str(work / "cache"), "--quiet"])
        while not (self.run / "clipd.sock").exists():
            time.sleep(0.01)
        self.connection = Connection(self.run / "clipd.sock")

    def ask(self, method, path, **body):
        self.connection.request(method, path, json.dumps(body) if body else None)
        reply = self.connection.getresponse()
        answer = json.loads(reply.read())
        if reply.status != 200:
            raise SystemExit(f"{method} {path}: {answer}")
        return answer

    def mount(self, name, index, **options):
        start = time.monotonic()
        answer = self.ask("PUT", f"/v1/containers/{name}", index=str(index), **options)
        return time.monotonic() - start, answer

    def rss(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))

    def n_files(self):
        return int(subprocess.check_output(["sh", "-c", f"ls /proc/{self.process.pid}/fd | wc -l"]))

    def stop(self):
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(120) != 0:
            raise SystemExit("clipd did not end well")
        return time.monotonic() - start


@contextlib.contextmanager
def serving(work):
    daemon = Daemon(work)
    try:
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.stop()
