#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The parts of stress.sh that read and spoil.

    stress.py make SEED DIR N_FILES N_MIB                files for a layer, of all sizes
    stress.py read SEED SECONDS N UNPACKED=MOUNTED...    N readers, each of all mounts
    stress.py spoil SEED SECONDS PID                     what may happen to files of its cache

A reader compares whole files, ranges by pread and ranges by mmap with the unpacked directory, and
has the kernel forget what it read. The first byte that differs, and any error, is said and ends it.
"""
import mmap
import multiprocessing
import os
import random
import sys
import time

SLACK_S = 100  # what a read may wait for an origin that fails, and more


# ---- files

def some_bytes(rng, size):
    """Compresses by half or so, and looks nowhere like elsewhere."""
    pieces, left = [], size
    while left > 0:
        noise = rng.randbytes(min(left, rng.randrange(16, 4096)))
        pieces += [noise, noise[:64] * rng.randrange(1, 40)]
        left -= len(pieces[-1]) + len(noise)
    return b"".join(pieces)[:size]


def make(seed, directory, n_files, n_mib):
    rng, left = random.Random(f"{seed} {directory}"), n_mib << 20
    for i in range(n_files):
        mean = left // (n_files - i)
        size = rng.choice([0, 1, 4095, 4096, 4097, rng.randrange(100000), mean, 3 * mean])
        size = left if i == n_files - 1 else min(size, left)
        path = os.path.join(directory, f"d{i % 7}", f"file-{i}")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(some_bytes(rng, size))
        left -= size


# ---- readers

def files_of(directory):
    return sorted(os.path.relpath(os.path.join(at, name), directory)
                  for at, _, names in os.walk(directory) for name in names)


def some_range(rng, size):
    off = rng.randrange(size + 1)
    return off, min(rng.choice([1, 100, 4096, 65536, 400000]), size - off)


def read_whole(_, fd, size):
    pieces, off = [], 0
    while piece := os.pread(fd, 1 << 20, off):
        pieces.append(piece)
        off += len(piece)
    return 0, b"".join(pieces), size


def read_range(rng, fd, size):
    off, length = some_range(rng, size)
    return off, os.pread(fd, length, off), length


def read_mapped(rng, fd, size):
    if size == 0:
        return 0, b"", 0
    off, length = some_range(rng, size)
    with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as mapped:
        return off, mapped[off:off + length], length


WAYS = [read_whole, read_range, read_range, read_range, read_mapped, read_mapped]


def compare(rng, unpacked, mounted, name):
    way = rng.choice(WAYS)
    with open(os.path.join(unpacked, name), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        fd = os.open(os.path.join(mounted, name), os.O_RDONLY)
        try:
            if os.fstat(fd).st_size != size:
                return f"{name}: another size"
            for _ in range(1 if way is read_whole else 8):
                off, found, length = way(rng, fd, size)
                if found != os.pread(file.fileno(), length, off):
                    return f"{name}: {way.__name__} of {length} at {off}: wrong bytes"
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
    return None


def read_on(seed, end, pairs, results):
    rng, n, wrong = random.Random(seed), 0, None
    names = {unpacked: files_of(unpacked) for unpacked, _ in pairs}
    while not wrong and (n == 0 or time.monotonic() < end):
        unpacked, mounted = rng.choice(pairs)
        name = rng.choice(names[unpacked])
        try:
            wrong = compare(rng, unpacked, mounted, name)
        except OSError as error:
            wrong = f"{mounted}/{name}: {error}"
        n += 1
    results.put((n, wrong))


def read(seed, seconds, n, *pairs):
    results = multiprocessing.Queue()
    end = time.monotonic() + seconds
    pairs = [pair.split("=", 1) for pair in pairs]
    readers = [multiprocessing.Process(target=read_on, args=(seed * 1000 + i, end, pairs, results),
                                       daemon=True) for i in range(n)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(max(0, end + SLACK_S - time.monotonic()))
    hang = [reader.pid for reader in readers if reader.is_alive()]
    for pid in hang:
        with open(f"/proc/{pid}/wchan") as file:
            print(f"reader {pid} hangs in {file.read()}")
    all_results = [results.get() for _ in range(n - len(hang))]
    print(sum(count for count, _ in all_results), "files or ranges were compared")
    wrong = [text for _, text in all_results if text]
    print(*wrong, sep="\n")
    sys.stdout.flush()
    os._exit(1 if hang or wrong or not sum(count for count, _ in all_results) else 0)


# ---- the cache's enemy

DATA_OFF = 64 << 20  # where spans begin (docs/cache.md)


def open_layers(pid):
    """The files of the cache that a process has open, also deleted ones."""
    layers = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:  # closed meanwhile
            continue
        if len(os.path.basename(target.removesuffix(" (deleted)"))) == 97:
            layers.append((f"/proc/{pid}/fd/{name}", target))
    return layers


def flip(rng, fd, place):
    byte = os.pread(fd, 1, place) or b"\0"
    os.pwrite(fd, bytes([byte[0] ^ 1 << rng.randrange(8)]), place)


def flip_data(rng, fd, size):
    """Where bytes are, not in a hole."""
    try:
        place = os.lseek(fd, rng.randrange(DATA_OFF, max(size, DATA_OFF + 1)), os.SEEK_DATA)
    except OSError:
        return
    flip(rng, fd, min(place + rng.randrange(65536), size - 1))


def spoil_file(rng, path, target):
    what = rng.choice(["flip"] * 40 + ["map", "header", "truncate", "empty", "delete"])
    if what == "delete" and os.path.exists(target):
        os.unlink(target)
    with open(path, "r+b", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if what == "flip":
            flip_data(rng, file.fileno(), size)
        elif what in ("truncate", "empty"):
            file.truncate(rng.randrange(DATA_OFF, size) if what == "truncate" and size > DATA_OFF
                          else 0)
        elif what != "delete":
            flip(rng, file.fileno(), rng.randrange(128, 640) if what == "map" else rng.randrange(128))


def spoil(seed, seconds, pid):
    rng, end, n = random.Random(seed), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        layers = open_layers(pid)
        try:
            if layers:
                spoil_file(rng, *rng.choice(layers))
                n += 1
        except FileNotFoundError:
            pass
        time.sleep(0.04)
    print(n, "times a file of the cache was spoiled")


def main():
    verb, seed, *args = sys.argv[1:]
    if verb == "make":
        make(int(seed), args[0], int(args[1]), int(args[2]))
    elif verb == "read":
        read(int(seed), float(args[0]), int(args[1]), *args[2:])
    else:
        spoil(int(seed), float(args[0]), args[1])


main()
