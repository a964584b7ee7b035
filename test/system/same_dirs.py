#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares a mounted image with the directory that an unpacker made of it.

    same_dirs.py UNPACKED MOUNTED

Types, modes, owners, times in nanoseconds, sizes, devices, symlinks, link counts and which names are
links of which, extended attributes, every byte; and that readdir's types and inode numbers are
those of lstat. What a runtime mounts (/proc, /sys, /dev) is not in an index.
"""
import hashlib
import os
import stat
import sys

LEFT_OUT = {b"proc", b"sys", b"dev"}


def xattrs(path):
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:  # the file system has none at all
        return {}
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in sorted(names)}


def content(path):
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            sha.update(piece)
    return sha.hexdigest()


def facts_of(path, first_names, name):
    st = os.lstat(path)
    facts = {"mode": oct(st.st_mode), "owner": (st.st_uid, st.st_gid), "mtime": st.st_mtime_ns,
             "xattrs": xattrs(path)}
    if stat.S_ISDIR(st.st_mode):
        return facts, st  # size and link count are a file system's own matter
    facts |= {"size": st.st_size, "nlink": st.st_nlink, "device": st.st_rdev,
              "link of": first_names.setdefault(st.st_ino, name)}
    if stat.S_ISLNK(st.st_mode):
        facts["target"] = os.readlink(path)
    if stat.S_ISREG(st.st_mode):
        facts["content"] = content(path)
    return facts, st


def walk(root, wrong):
    root = os.fsencode(root)
    seen, first_names = {b".": facts_of(root, {}, b".")[0]}, {}
    todo = [b""]
    while todo:
        at = todo.pop()
        for entry in sorted(os.scandir(os.path.join(root, at)), key=lambda entry: entry.name):
            name = os.path.join(at, entry.name)
            if name in LEFT_OUT:
                continue
            seen[name], st = facts_of(entry.path, first_names, name)
            if entry.inode() != st.st_ino or entry.is_dir(follow_symlinks=False) != stat.S_ISDIR(
                    st.st_mode):
                wrong.append(f"{entry.path}: readdir and lstat do not agree")
            if entry.is_dir(follow_symlinks=False):
                todo.append(name)
    return seen


def main():
    unpacked, mounted = sys.argv[1:3]
    wrong = []
    theirs, ours = walk(unpacked, []), walk(mounted, wrong)
    for name in sorted(set(ours) | set(theirs)):
        if name not in ours or name not in theirs:
            wrong.append(f"only in the {'mount' if name in ours else 'directory'}: {name}")
            continue
        wrong += [f"{name}: {key} is {ours[name].get(key)}, not {value}"
                  for key, value in theirs[name].items() if ours[name].get(key) != value]
    print(*wrong[:20], sep="\n")
    print(len(theirs), "entries unpacked,", len(ours), "mounted")
    sys.exit(1 if wrong or len(ours) < 3 else 0)


main()
