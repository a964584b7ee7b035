#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares an index with a directory that an unpacker made of the same image.

    same_tree.py CLIP FILE.clip DIR [--no-dir-times] [--all]

Types, modes, owners, times in nanoseconds, sizes, devices, symlinks, hard links, extended
attributes and the SHA-256 of every file; but not of the root itself. --no-dir-times: directories'
times are the unpacker's. --all: /proc, /sys and /dev are in both.
"""
import hashlib
import json
import os
import stat
import subprocess
import sys

TYPES = {stat.S_IFREG: "regular file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink",
         stat.S_IFCHR: "character device", stat.S_IFBLK: "block device", stat.S_IFIFO: "fifo"}


def digest(path):
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            sha.update(piece)
    return "sha256:" + sha.hexdigest()


def on_disk(path, digests):
    """What `clip ls` and `clip stat` say of a path, from the file system."""
    st = os.lstat(path)
    kind = stat.S_IFMT(st.st_mode)
    facts = {"type": TYPES.get(kind, "?"), "mode": "%04o" % stat.S_IMODE(st.st_mode),
             "nlink": st.st_nlink, "uid": st.st_uid, "gid": st.st_gid,
             "mtime": st.st_mtime_ns // 10**9, "mtime_nsec": st.st_mtime_ns % 10**9}
    if kind == stat.S_IFREG:
        facts["size"] = st.st_size
        if st.st_ino not in digests:
            digests[st.st_ino] = digest(path)
        facts["content"] = digests[st.st_ino]
    if kind == stat.S_IFLNK:
        facts["target"] = os.readlink(path).hex()
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        facts["rdev"] = [os.major(st.st_rdev), os.minor(st.st_rdev)]
    names = sorted(os.listxattr(path, follow_symlinks=False))
    facts["xattrs"] = {os.fsencode(n).hex(): os.getxattr(path, n, follow_symlinks=False).hex()
                       for n in names}
    return facts, st.st_ino


def raw(entry, key):
    """A string of JSON as bytes: what is not UTF-8 is beside it in hexadecimal."""
    return bytes.fromhex(entry[key + "_hex"]) if key + "_hex" in entry else entry[key].encode()


def in_index(entry):
    facts = {k: entry[k] for k in ("type", "mode", "nlink", "uid", "gid", "mtime", "mtime_nsec")}
    for key in ("content", "rdev"):
        if key in entry:
            facts[key] = entry[key]
    if entry["type"] == "regular file":
        facts["size"] = entry["size"]
    if entry["type"] == "symlink":
        facts["target"] = raw(entry, "target").hex()
    facts["xattrs"] = {raw(x, "name").hex(): raw(x, "value").hex() for x in entry["xattrs"]}
    return facts


def list_index(clip, index):
    command = [clip, "ls", "-lR", "--json", index]
    entries = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return {raw(e, "path"): e for e in entries}


def list_disk(root, skip):
    for at, dirs, files in os.walk(os.fsencode(root)):
        if at == os.fsencode(root):
            dirs[:] = [d for d in dirs if d not in skip]
            files = [f for f in files if f not in skip]
        for name in dirs + files:
            path = os.path.join(at, name)
            yield b"/" + os.path.relpath(path, os.fsencode(root)), path


def main():
    clip, index, root = sys.argv[1:4]
    options = sys.argv[4:]
    theirs, digests, bad, inodes = {}, {}, 0, {}
    for name, path in list_disk(root, set() if "--all" in options else {b"proc", b"sys", b"dev"}):
        theirs[name] = on_disk(path, digests)
    ours = list_index(clip, index)
    for name in sorted(set(ours) | set(theirs)):
        if name not in ours or name not in theirs:
            print("only in", "the index:" if name in ours else "the directory:", name)
            bad += 1
            continue
        a, (b, ino) = in_index(ours[name]), theirs[name]
        if "--no-dir-times" in options and a["type"] == "directory":
            for facts in (a, b):
                facts["mtime"] = facts["mtime_nsec"] = 0
        if a["type"] == "directory":
            a["nlink"] = b["nlink"] = 0  # some file systems count, some do not
        if a != b:
            print(name, *(f"{k}: {a.get(k)} is {b.get(k)}" for k in a if a.get(k) != b.get(k)))
            bad += 1
        if inodes.setdefault(ours[name]["ino"], ino) != ino:
            print(name, "is another file's hard link")
            bad += 1
        if bad > 20:
            break
    print(len(ours), "entries in the index,", len(theirs), "in the directory")
    sys.exit(1 if bad else 0)


main()
