#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A registry on loopback that serves OCI layouts badly.

    faulty_registry.py [--seed N] [--faults RATE] PORT_FILE NAME=LAYOUT...

Blobs are cut, stalled, reset, refused with 503, served with a bit flipped, or as a whole where a
range was asked for: RATE (0.15) of the requests for them. The same bytes are wrong twice in a row
at most: the third answer is right, as it has to be. Each path below is said by GET:

    /dial/RATE      changes the rate; 1.0 and above: every request for a blob is refused with 503
    /count          requests for blobs so far
"""
import argparse
import json
import os
import random
import re
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = ["cut", "busy", "flip", "whole", "reset", "stall"]


class Registry(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, layouts, seed, rate):
        super().__init__(("127.0.0.1", 0), Request)
        self.layouts = layouts
        self.random = random.Random(seed)
        self.rate = rate
        self.n_blobs = 0
        self.blobs = {}
        self.flipped = set()  # ends of ranges whose second answer was wrong
        self.lock = threading.Lock()

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def manifest(self, name, tag):
        if tag.startswith("sha256:"):
            return tag
        with open(os.path.join(self.layouts[name], "index.json")) as file:
            for manifest in json.load(file)["manifests"]:
                if manifest["annotations"]["org.opencontainers.image.ref.name"] == tag:
                    return manifest["digest"]
        return None

    def blob(self, name, digest):
        """Its bytes, read once: they are asked for in small ranges, many times."""
        path = os.path.join(self.layouts.get(name, ""), "blobs", *digest.split(":"))
        if path not in self.blobs and os.path.exists(path):
            with open(path, "rb") as file:
                self.blobs[path] = file.read()
        return self.blobs.get(path)

    def draw(self, digest, end, again):
        """What goes wrong with a request for a blob, and where in the body."""
        with self.lock:
            self.n_blobs += 1
            if self.rate >= 1:
                return "down", 0
            fault = self.random.choice(FAULTS) if self.random.random() < self.rate else ""
            key = digest, end
            if again and fault == "flip":
                fault = "" if key in self.flipped else fault
                self.flipped.add(key)
            elif again and not fault:
                self.flipped.discard(key)
            return fault, self.random.random()


class Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        server = self.server
        if self.path == "/count":
            return self.answer(200, str(server.n_blobs).encode())
        if self.path.startswith("/dial/"):
            server.rate = float(self.path[6:])
            return self.answer(200)
        if match := re.fullmatch(r"/v2/(\w+)/manifests/([\w:.-]+)", self.path):
            return self.give_manifest(*match.groups())
        if match := re.fullmatch(r"/v2/(\w+)/blobs/(sha256:[0-9a-f]{64})", self.path):
            return self.give_blob(*match.groups())
        return self.answer(200 if self.path == "/v2/" else 404)

    def give_manifest(self, name, tag):
        digest = self.server.manifest(name, tag)
        body = digest and self.server.blob(name, digest)
        if not body:
            return self.answer(404)
        return self.answer(200, body, Docker_Content_Digest=digest,
                           Content_Type=json.loads(body)["mediaType"])

    def give_blob(self, name, digest):
        body = self.server.blob(name, digest)
        if body is None:
            return self.answer(404)
        size, match = len(body), re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = (int(match[1]), min(int(match[2]), size - 1)) if match else (0, size - 1)
        fault, where = self.server.draw(digest, last, "Cache-Control" in self.headers)
        if fault in ("busy", "down"):
            return self.answer(503, b"not now", **({"Retry_After": "0"} if fault == "busy" else {}))
        if not match or fault == "whole":
            return self.send(200, body, fault, where)
        return self.send(206, body[first:last + 1], fault, where,
                         Content_Range=f"bytes {first}-{last}/{size}")

    def send(self, status, body, fault, where, **headers):
        at = int(len(body) * where)
        if fault == "flip" and body:
            body = body[:at] + bytes([body[at] ^ 0x10]) + body[at + 1:]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault in ("cut", "reset", "stall"):
            self.wfile.write(body[:at])
            self.wfile.flush()
            if fault == "stall":
                time.sleep(0.1 + where / 5)
                self.wfile.write(body[at:])
                return
            self.close_connection = True
            if fault == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                           struct.pack("ii", 1, 0))
                self.connection.close()
            return
        self.wfile.write(body)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=float, default=0.15)
    parser.add_argument("port_file")
    parser.add_argument("layouts", nargs="+")
    args = parser.parse_args()
    server = Registry(dict(text.split("=", 1) for text in args.layouts), args.seed, args.faults)
    with open(args.port_file + ".new", "w") as file:
        print(server.server_port, file=file)
    os.rename(args.port_file + ".new", args.port_file)
    server.serve_forever()


main()
