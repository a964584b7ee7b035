#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A second reader of index files, written from docs/format.md alone; nothing but Python's own library
(and the program zstd, to unpack windows). XXH3 checksums are left out.

    format.py ls FILE.clip                 one JSON object a line, as the index has them
    format.py read FILE.clip LAYOUT        decodes every span and checks it and every file's content
    format.py compare FILE.clip CLIP       the same tree as `CLIP ls -lR --json`?
    format.py profile FILE.clip            layer and span of what it names, one a line
    format.py needs FILE.clip              the path of a file and of one that it needs, one pair a line
"""
import hashlib
import json
import struct
import subprocess
import sys
import zlib

NONE = 0xFFFFFFFF
MAGIC = bytes.fromhex("89434c49500d0a1a0a")
RECORDS = {1: 112, 2: 1, 3: 28, 4: 32, 5: 32, 6: 24, 7: 8, 8: 16, 9: 104, 10: 96, 11: 1}
OPTIONAL = {12: 8, 13: 8}
KINDS = ["regular file", "regular file", "directory", "symlink", "character device",
         "block device", "fifo"]
FILE, EXTENDED, DIR, SYMLINK, CHAR, BLOCK, FIFO, LINK = range(8)
FRESH, MIDBLOCK, CHAINED = 1, 2, 4


def need(fact, what):
    if not fact:
        sys.exit("format.py: " + what)


class Index:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = file.read()
        self.sections = self.read_sections()
        self.facts = self.read_image()
        self.layers = [self.read_layer(i) for i in range(self.count(9))]
        self.nodes = [self.read_node(i) for i in range(self.count(3))]

    # -- the header and the sections

    def read_sections(self):
        magic, version, reserved, n, size, _ = struct.unpack_from("<9sBHIQQ", self.bytes)
        need(magic == MAGIC and version == 2, "not an index of version 2")
        need(reserved == 0 and size == len(self.bytes) and n <= 64, "a damaged header")
        sections, end = {}, 32 + 32 * n
        for i in range(n):
            kind, flags, off, length, _ = struct.unpack_from("<IIQQQ", self.bytes, 32 + 32 * i)
            need(off == (end + 7) // 8 * 8 and off + length <= size, f"section {i} is misplaced")
            need(not any(self.bytes[end:off]), "something between sections")
            end = off + length
            record = (RECORDS | OPTIONAL).get(kind)
            if record is None:
                need(flags & 1 == 0, f"section type {kind} is needed and not known")
                continue
            need(kind not in sections and length % record == 0, f"section {kind} is damaged")
            sections[kind] = self.bytes[off:end]
        need(end == size and set(sections) >= set(RECORDS), "sections are missing, or more follows")
        return sections

    def count(self, kind):
        return len(self.sections[kind]) // RECORDS[kind]

    def record(self, kind, index, layout):
        need(index < self.count(kind), f"no record {index} in section {kind}")
        return struct.unpack_from("<" + layout, self.sections[kind], index * RECORDS[kind])

    def string(self, off, length):
        need(off + length <= len(self.sections[2]), "a string is out of bounds")
        return self.sections[2][off:off + length]

    def text(self, off, length):
        text = self.string(off, length + 1)
        need(text.find(b"\0") == length, "a text does not end")
        return text[:-1].decode()

    # -- tables

    def read_image(self):
        r = self.record(1, 0, "32sQQIIIIIIII8I")
        names = ("entries", "files", "directories", "symlinks", "hardlinks", "others")
        facts = dict(zip(names, r[3:9]))
        facts.update(manifest_digest="sha256:" + r[0].hex(), span_size=r[1], content_size=r[2],
                     flags=r[9], reference=self.text(*r[11:13]),
                     manifest_media_type=self.text(*r[13:15]), platform=self.text(*r[15:17]),
                     config=json.loads(self.text(*r[17:19])))
        need(r[9] & ~1 == 0 and r[10] == 0, "unknown bits of the image")
        return facts

    def read_layer(self, index):
        r = self.record(9, index, "32s32sQQIIIIII")
        spans = [self.read_span(r[7] + i) for i in range(r[8])]
        for a, b in zip(spans, spans[1:] + [{"out_off": r[3]}]):
            a["out_end"] = b["out_off"]
        return {"digest": "sha256:" + r[0].hex(), "diff_id": "sha256:" + r[1].hex(), "size": r[2],
                "uncompressed_size": r[3], "media_type": self.text(*r[4:6]),
                "codec": ("tar", "gzip", "zstd")[r[6]], "spans": spans}

    def read_span(self, index):
        names = ("in_bit", "in_end", "out_off", "data", "window_len", "header_bits", "flags",
                 "header_bit", "fetched", "decoded")
        span = dict(zip(names, self.record(10, index, "QQQQIIII32s16s")))
        at, data = span["data"], self.sections[11]
        span["window"] = data[at:at + span["window_len"]]
        at += span["window_len"]
        span["header"] = data[at:at + (span["header_bit"] + span["header_bits"] + 7) // 8]
        return span

    def read_attr(self, index):
        sec, nsec, mode, uid, gid, nlink, xattrs = self.record(4, index, "qIIIIII")
        names = {}
        if xattrs != NONE:
            first, n = self.record(7, xattrs, "II")
            for i in range(first, first + n):
                a, b, c, d = self.record(8, i, "IIII")
                names[self.string(a, b)] = self.string(c, d)
        return {"mtime": sec, "mtime_nsec": nsec, "mode": mode, "uid": uid, "gid": gid,
                "nlink": nlink, "xattrs": names}

    def read_node(self, index):
        name, parent, attr, kind, name_len, layer, *words = self.record(3, index, "IIIBBHIII")
        node = {"kind": kind, "parent": parent, "name": self.string(name, name_len),
                "layer": layer, "words": words, "ino": index + 1}
        if kind == LINK:
            need(words[0] < index, "a link to a later node")
            node["ino"] = words[0] + 1
            return node
        node.update(self.read_attr(attr))
        if kind == DIR:
            node["nlink"] = 2 + words[2]
        if kind == SYMLINK:
            node["target"] = self.string(*words[:2])
        if kind in (FILE, EXTENDED):
            node.update(self.read_file(kind, words))
        return node

    def read_file(self, kind, words):
        if kind == FILE:
            size, block, digest = words
            extents = [(0, block * 512, size)] if size else []
        else:
            first, n, digest = words
            size = self.record(6, first, "QQQ")[0]
            extents = [self.record(6, first + 1 + i, "QQQ") for i in range(n)]
        content = self.record(5, digest, "32s")[0] if digest != NONE else hashlib.sha256().digest()
        return {"size": size, "extents": extents, "content": content}

    def paths(self):
        """(path, node of the file) of every node but the root, in the order of the file."""
        paths = [b""]
        for node in self.nodes[1:]:
            paths.append(paths[node["parent"]] + b"/" + node["name"])
            yield paths[-1], self.nodes[node["ino"] - 1]


# ---- content


def take_number(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def unpack_window(packed):
    if not packed:
        return b""
    if packed[0] == 0:
        return packed[1:]
    need(packed[0] == 1, "a window packed in an unknown way")
    plain = run("zstd", "-dc", data=packed[1:])
    n, at, runs = plain[0] | plain[1] << 8, 2, []
    for _ in range(n):
        hole, at = take_number(plain, at)
        length, at = take_number(plain, at)
        runs.append((hole, length))
    window = b""
    for hole, length in runs:
        window += bytes(hole) + plain[at:at + length]
        at += length
    need(at == len(plain), "a window with something behind it")
    return window


def run(*command, data):
    return subprocess.run(command, input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout


def bits_from(data, bit, n=None):
    """Some bits of `data` as a number, and how many they are; the first one is the lowest."""
    n = len(data) * 8 - bit if n is None else n
    return int.from_bytes(data, "little") >> bit & (1 << n) - 1, n


# Deflate blocks of no bytes, bit by bit: with fixed codes 10 bits, with dynamic ones 93.
FIXED = "010" + 7 * "0"
DYNAMIC = ("001" + 10 * "0" + "1111" + 2 * "000" + "100" + 14 * "000" + "100" + "000" +
           "11111111" + "11101011" + "000")


def padding(n):
    """Blocks of no bytes whose length is n bits, but for a multiple of 8."""
    bits = DYNAMIC if n % 2 else ""
    while len(bits) % 8 != n % 8:
        bits += FIXED
    return int(bits[::-1] or "0", 2), len(bits)


def inflate_rest(span, data, length):
    """The rest of a member, and what comes after it. Stored blocks are aligned to the blob's bytes,
    so the bits must stay where they are in theirs: blocks of no bytes are put in front."""
    header, n_header = bits_from(span["header"], span["header_bit"], span["header_bits"])
    rest, n_rest = bits_from(data, span["in_bit"] % 8)
    pad, n_pad = padding(span["in_bit"] - n_header)
    raw = pad | header << n_pad | rest << n_pad + n_header
    decoder = zlib.decompressobj(-15, zdict=unpack_window(span["window"]))
    out = decoder.decompress(raw.to_bytes((n_pad + n_header + n_rest) // 8, "little"), length)
    return out, decoder.unused_data[8:]


def inflate(span, data, length):
    """gzip from a checkpoint on."""
    out = b""
    if not span["flags"] & FRESH:
        out, data = inflate_rest(span, data, length)
    while len(out) < length and data:
        decoder = zlib.decompressobj(31)
        out += decoder.decompress(data, length - len(out))
        data = decoder.unused_data
    return out


def decode_layer(layer, blob):
    out, chain = [], b""
    for span in layer["spans"]:
        data = blob[span["in_bit"] // 8:span["in_end"]]
        length = span["out_end"] - span["out_off"]
        need(hashlib.sha256(data).digest() == span["fetched"], "a span has other compressed bytes")
        if layer["codec"] == "tar":
            piece = data
        elif layer["codec"] == "gzip":
            piece = inflate(span, data, length)
        elif span["flags"] & CHAINED:
            chain += data
            continue
        else:
            out.append(run("zstd", "-dc", data=chain))
            chain, piece = data, b""
        need(layer["codec"] == "zstd" or len(piece) == length, "a span decodes to another length")
        out.append(piece)
    return b"".join(out) + (run("zstd", "-dc", data=chain) if chain else b"")


def read_all(index, layout):
    layers = []
    for layer in index.layers:
        with open(f"{layout}/blobs/{layer['digest'].replace(':', '/')}", "rb") as file:
            blob = file.read()
        layers.append(decode_layer(layer, blob))
        need("sha256:" + hashlib.sha256(layers[-1]).hexdigest() == layer["diff_id"],
             "a layer is not what its diff_id says")
    n = 0
    for path, node in index.paths():
        if node["kind"] not in (FILE, EXTENDED):
            continue
        content = bytearray(node["size"])
        for file_off, layer_off, length in node["extents"]:
            content[file_off:file_off + length] = \
                layers[node["layer"]][layer_off:layer_off + length]
        need(hashlib.sha256(content).digest() == node["content"], f"content of {path}")
        n += 1
    print(sum(len(layer["spans"]) for layer in index.layers), "spans and", n, "files are right")


# ---- the profile


def profile(index):
    """[layer, span] as it is told."""
    spans = list(struct.iter_unpack("<II", index.sections.get(12, b"")))
    for layer, span in spans:
        need(layer < len(index.layers) and span < len(index.layers[layer]["spans"]),
             "the profile names a span that is not there")
    return spans


def needs(index):
    """(node, needed), in the file's order."""
    pairs = list(struct.iter_unpack("<II", index.sections.get(13, b"")))
    for pair in pairs:
        need(pair[0] != pair[1] and max(pair) < len(index.nodes), "a need of a file that is not there")
        need(all(index.nodes[i]["kind"] in (FILE, EXTENDED) for i in pair), "a need of what is no file")
    need([node for node, _ in pairs] == sorted(node for node, _ in pairs), "needs are out of order")
    return pairs


# ---- the tree


def set_bytes(entry, key, data):
    try:
        entry[key] = data.decode()
    except UnicodeDecodeError:
        entry[key + "_hex"] = data.hex()


def as_json(path, node):
    entry = {key: node[key] for key in ("ino", "nlink", "uid", "gid", "mtime", "mtime_nsec")}
    set_bytes(entry, "path", path)
    entry["type"], entry["mode"] = KINDS[node["kind"]], "%04o" % node["mode"]
    if "content" in node:
        entry["size"], entry["content"] = node["size"], "sha256:" + node["content"].hex()
    if node["kind"] in (CHAR, BLOCK):
        entry["rdev"] = node["words"][:2]
    if node["kind"] == SYMLINK:
        set_bytes(entry, "target", node["target"])
    entry["xattrs"] = {k.hex(): v.hex() for k, v in node["xattrs"].items()}
    return entry


def raw(entry, key):
    return entry[key + "_hex"] if key + "_hex" in entry else entry[key].encode().hex()


def from_clip(entry):
    """What `clip ls --json` says, without what clip makes up (sizes of what is no file)."""
    entry = dict(entry)
    for key in ("path", "target"):
        if key + "_hex" in entry:
            del entry[key]
    if entry["type"] != "regular file":
        del entry["size"]
    entry["xattrs"] = {raw(x, "name"): raw(x, "value") for x in entry["xattrs"]}
    return entry


def compare(index, clip, path):
    out = subprocess.run([clip, "ls", "-lR", "--json", path], stdout=subprocess.PIPE, check=True)
    theirs = {raw(e, "path"): from_clip(e) for e in json.loads(out.stdout)}
    ours = {p.hex(): as_json(p, node) for p, node in index.paths()}
    for name in sorted(set(ours) | set(theirs)):
        if ours.get(name) != theirs.get(name):
            sys.exit(f"{bytes.fromhex(name)}: {ours.get(name)} is not {theirs.get(name)}")
    out = subprocess.run([clip, "inspect", "--json", path], stdout=subprocess.PIPE, check=True)
    facts = json.loads(out.stdout)
    for key, value in index.facts.items():
        need(key == "flags" or facts[key] == value, f"{key}: {value} is not {facts.get(key)}")
    for layer, fact in zip(index.layers, facts["layers"]):
        for key in ("digest", "diff_id", "media_type", "codec", "size", "uncompressed_size"):
            need(layer[key] == fact[key], f"{key} of a layer")
        need(len(layer["spans"]) == fact["spans"], "the number of spans")
    print(len(ours), "entries are the same")


def main():
    verb, path = sys.argv[1:3]
    index = Index(path)
    if verb == "ls":
        for name, node in index.paths():
            print(json.dumps(as_json(name, node)))
    elif verb == "read":
        read_all(index, sys.argv[3])
    elif verb == "profile":
        print(json.dumps(profile(index)))
    elif verb == "needs":
        paths = {node["ino"]: name.decode(errors="replace") for name, node in index.paths()}
        for pair in needs(index):
            print(*(paths[index.nodes[i]["ino"]] for i in pair))
    else:
        compare(index, sys.argv[3], path)


main()
