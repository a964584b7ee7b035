#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients of the control socket that no HTTP library would be: control.py WHAT SOCKET [...]

Each WHAT is a function below; it ends with 0 if clipd behaved.
"""
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import termios
import time

GET = b"GET /healthz HTTP/1.1\r\nHost: clipd\r\n\r\n"


def connect(path):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(path)
    client.settimeout(60)
    return client


def read_all(client):
    data = b""
    try:
        while chunk := client.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data


def talk(path, request):
    """What comes back until clipd closes; it may close before it has read everything."""
    client = connect(path)
    try:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError, OSError):
        pass
    return read_all(client)


def expect(reply, status):
    if not reply.startswith(b"HTTP/1.1 %d " % status):
        sys.exit(f"expected {status}, got {reply[:200]!r}")


def malformed(path):
    for request in (b"\0\1\2\3\r\n\r\n", b"HELLO\r\n\r\n", b"GET /healthz\r\n\r\n",
                    b"GET /healthz HTTP/9.9\r\n\r\n",
                    b"PUT /v1/containers/a HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                    b"PUT /v1/containers/a HTTP/1.1\r\nContent-Length: 1\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n"):
        expect(talk(path, request), 400)


def huge(path):
    expect(talk(path, b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n"), 414)
    expect(talk(path, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100000), 431)
    expect(talk(path, b"GET / HTTP/1.1\r\nA: " + b"b" * 100000), 431)
    put = b"PUT /v1/containers/a HTTP/1.1\r\n"
    expect(talk(path, put + b"Content-Length: 1000000000000\r\n\r\n"), 413)
    expect(talk(path, put + b"Content-Length: 99999999999999999999999\r\n\r\n"), 400)
    expect(talk(path, put + b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"x" * 4096 +
                b"\r\n" + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 20), 413)
    expect(talk(path, put + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100000), 431)
    nested = b"[" * 60000
    expect(talk(path, put + b"Content-Length: %d\r\n\r\n" % len(nested) + nested), 400)


def pipelined(path):
    reply = talk(path, GET * 3 + GET.replace(b"Host", b"Connection: close\r\nHost"))
    if reply.count(b"HTTP/1.1 200 OK") != 4:
        sys.exit(f"4 requests, and this came: {reply!r}")


def dripped(path):
    client = connect(path)
    for i in range(len(GET)):
        client.sendall(GET[i:i + 1])
    expect(client.recv(65536), 200)


def slow(path):
    """A request that does not get on is ended after 10 s, and costs nobody else anything."""
    clients = [connect(path) for _ in range(50)]
    for client in clients:
        client.sendall(GET[:20])
    began = time.monotonic()
    expect(talk(path, GET), 200)
    if len(select.select(clients, [], [], 0)[0]) == len(clients):
        sys.exit("another client had to wait until they were ended")
    for client in clients:
        if read_all(client) != b"":
            sys.exit("a half request was answered")
    if not 5 < time.monotonic() - began < 60:
        sys.exit(f"ended after {time.monotonic() - began:.1f} s")


def idle(path):
    """Whoever idles makes room."""
    clients = []
    for _ in range(400):
        client = connect(path)
        client.sendall(GET)
        expect(client.recv(65536), 200)
        clients.append(client)


def wait_until_read(client):
    """Until clipd has read what was sent."""
    while struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)))[0] > 0:
        time.sleep(0.001)


def crowd(path):
    """All places taken by clients in the middle of a request: the next is told so at once."""
    clients, reply = [], b""
    while b" 503 " not in reply and len(clients) < 400:
        clients.append(connect(path))
        clients[-1].sendall(GET[:20])
        if len(clients) >= 224:
            for client in clients:
                wait_until_read(client)  # else it idles and makes room
            reply = talk(path, GET)
    expect(reply, 503)
    served = 0
    for client in clients:
        try:
            client.sendall(GET[20:])
            served += client.recv(65536).startswith(b"HTTP/1.1 200 ")
        except (BrokenPipeError, ConnectionResetError):
            pass
    if served < 200:
        sys.exit(f"only {served} of the crowd were served")
    expect(talk(path, GET), 200)


def deaf(path):
    """One that never reads its answers gets no more than fits, and others are served."""
    client = connect(path)
    client.setblocking(False)
    sent = 0
    try:
        while sent < 64 * 1024 * 1024:
            sent += client.send(GET * 100)
    except (BlockingIOError, ConnectionError):  # no room, or clipd has had enough of it
        pass
    if sent > 8 * 1024 * 1024:
        sys.exit("clipd read on though nobody took its answers")
    expect(talk(path, GET), 200)


def activated(path, *command):
    """As systemd starts it: with the socket as descriptor 3, and told when it is ready."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind("\0clip-test-%d" % os.getpid())
    notify.settimeout(60)
    client = connect(path)
    client.sendall(GET)

    env = dict(os.environ, LISTEN_FDS="1", NOTIFY_SOCKET="@clip-test-%d" % os.getpid())
    script = 'exec 3<&%d; export LISTEN_PID=$$; exec "$@"' % listener.fileno()
    daemon = subprocess.Popen(["bash", "-c", script, "-", *command], env=env,
                              pass_fds=[listener.fileno()])
    if not notify.recv(4096).startswith(b"READY=1"):
        sys.exit("not READY=1")
    expect(client.recv(65536), 200)
    daemon.terminate()
    if not notify.recv(4096).startswith(b"STOPPING=1"):
        sys.exit("not STOPPING=1")
    if daemon.wait(60) != 0 or not os.path.exists(path):
        sys.exit("it did not end well, or took systemd's socket away")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
