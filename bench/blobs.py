# SPDX-License-Identifier: Apache-2.0
"""A registry that serves one OCI layout, late if told to, and counts what it sends of each blob.

    python3 -m blobs PORT LAYOUT [MS]      MS milliseconds before each answer

Every repository and tag is that image. GET /sent answers {digest: bytes that left for it}.
"""

import json
import os
import re
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 16384  # the headers are one write
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")

    def do_GET(self):
        time.sleep(self.server.delay)
        match = re.fullmatch(r"/v2/.+/(manifests|blobs)/([^/]+)", self.path)
        if self.path == "/sent":
            self.answer(200, json.dumps(self.server.sent).encode())
        elif not match:
            self.answer(200 if self.path == "/v2/" else 404)
        elif match[1] == "manifests":
            self.send_manifest(match[2])
        else:
            self.send_blob(match[2])

    do_HEAD = do_GET

    def send_manifest(self, reference):
        body = self.server.manifest
        if reference.startswith("sha256:") and reference != self.server.digest:
            self.answer(404)
            return
        self.answer(200, body, Content_Type=self.server.media_type,
                    Docker_Content_Digest=self.server.digest)

    def send_blob(self, digest):
        path = self.server.blob(digest)
        if not path.exists():
            self.answer(404)
            return
        size = path.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        end = min(size, int(asked[2]) + 1) if asked and asked[2] else size
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{size}")
        self.send_header("Content-Length", str(end - first))
        self.end_headers()
        self.wfile.flush()
        if self.command == "GET":
            self.send_bytes(path, digest, first, end)

    def send_bytes(self, path, digest, off, end):
        with open(path, "rb") as file:
            while off < end:
                n = os.sendfile(self.connection.fileno(), file.fileno(), off, min(end - off, 1 << 20))
                off += n
                with self.server.lock:
                    self.server.sent[digest] += n


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port, layout, delay):
        super().__init__(("127.0.0.1", port), Handler)
        self.layout, self.delay = layout, delay
        self.sent, self.lock = Counter(), threading.Lock()
        image = json.loads((layout / "index.json").read_text())["manifests"][0]
        self.digest, self.media_type = image["digest"], image["mediaType"]
        self.manifest = self.blob(self.digest).read_bytes()

    def blob(self, digest):
        return self.layout / "blobs" / "sha256" / Path(digest.removeprefix("sha256:")).name


if __name__ == "__main__":
    port, layout, *ms = sys.argv[1:]
    Server(int(port), Path(layout), float(ms[0]) / 1000 if ms else 0).serve_forever()
