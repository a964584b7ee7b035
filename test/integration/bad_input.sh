#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What comes from outside and is wrong: one sentence on stderr that says what and where, exit code 1,
# in bounded time and memory, and nothing left behind.
. "$(dirname "$0")/lib.sh"
begin

mkdir tree && head -c 200000 /dev/urandom >tree/random && seq 50000 >tree/numbers
tar -C tree --owner=0 --group=0 -cf tree.tar .
layout good gzip:tree.tar
index oci:good:latest good.clip || exit 1

layer_of() { # LAYOUT -> the path of its first layer's blob
    local m
    m=$(jq -r '.manifests[0].digest' "$1/index.json")
    echo "$1/blobs/sha256/$(jq -r '.layers[0].digest' "$1/blobs/sha256/${m#sha256:}" | cut -c8-)"
}

# no_index TEXT LAYOUT: `clip index` fails with that text and leaves nothing.
no_index() {
    rm -rf out && mkdir out
    fails 1 "$1" index "oci:$2:latest" out/bad.clip || return 1
    [ -z "$(ls -A out)" ] || { ls -A out; return 1; }
}

copy() {
    rm -rf bad && cp -a good bad
}

# ---- blobs

blob_is_missing() {
    copy && rm "$(layer_of bad)" && no_index "layer 1 of 1" bad
}
check "a blob that is missing" blob_is_missing

blob_has_another_digest() {
    copy && printf '\377' | dd of="$(layer_of bad)" bs=1 seek=5 conv=notrunc status=none
    no_index "digest is sha256:" bad && grep -q "the manifest says sha256:" .stderr
}
check "a blob with another digest" blob_has_another_digest

blob_has_another_size() {
    copy && echo more >>"$(layer_of bad)" && no_index "layer 1 of 1" bad && grep -q bytes .stderr &&
        copy && truncate -s -1 "$(layer_of bad)" && no_index "layer 1 of 1" bad
}
check "a blob with another size" blob_has_another_size

manifest_has_another_digest() {
    copy
    local m
    m=$(jq -r '.manifests[0].digest' bad/index.json)
    sed -i 's/"schemaVersion": 2/"schemaVersion":  2/' "bad/blobs/sha256/${m#sha256:}"
    no_index bad bad
}
check "a manifest with another digest" manifest_has_another_digest

cut_gzip() {
    gzip -nc tree.tar >t.gz
    truncate -s 100000 t.gz
    rm -rf bad && layout bad raw+tar+gzip:t.gz && no_index "layer 1 of 1" bad
    grep -qi "ends\|cut\|end" .stderr
}
check "a gzip that is cut" cut_gzip

damaged_gzip() {
    gzip -nc tree.tar >t.gz
    printf '\377\377\377\377' | dd of=t.gz bs=1 seek=50000 conv=notrunc status=none
    rm -rf bad && layout bad raw+tar+gzip:t.gz && no_index "layer 1 of 1" bad
}
check "a gzip that is damaged" damaged_gzip

not_a_layer() {
    head -c 100000 tree/random >t.raw
    rm -rf bad && layout bad raw:t.raw && no_index "neither gzip, zstd nor tar" bad
}
check "a layer that is something else" not_a_layer

other_diff_id() {
    copy
    local m c
    m=$(jq -r '.manifests[0].digest' bad/index.json)
    c=$(jq -r '.config.digest' "bad/blobs/sha256/${m#sha256:}")
    python3 - bad "${m#sha256:}" "${c#sha256:}" <<'EOF'
import hashlib, json, sys
at = sys.argv[1] + "/blobs/sha256/"
config = json.load(open(at + sys.argv[3]))
config["rootfs"]["diff_ids"] = ["sha256:" + 64 * "0"]
def put(value):
    data = json.dumps(value).encode()
    digest = hashlib.sha256(data).hexdigest()
    open(at + digest, "wb").write(data)
    return {"digest": "sha256:" + digest, "size": len(data)}
manifest = json.load(open(at + sys.argv[2]))
manifest["config"].update(put(config))
index = json.load(open(sys.argv[1] + "/index.json"))
index["manifests"][0].update(put(manifest))
json.dump(index, open(sys.argv[1] + "/index.json", "w"))
EOF
    no_index "layer 1 of 1" bad && grep -q "diff_id is sha256:.*the config says sha256:0000" .stderr
}
check "a layer with another diff_id" other_diff_id

# ---- tars

python3 - <<'EOF'
import io, tarfile

def write(name, *entries):
    with tarfile.open(name, "w", format=tarfile.PAX_FORMAT) as tar:
        for path, kind, more in entries:
            info = tarfile.TarInfo(path)
            info.type = kind
            for key, value in more.items():
                setattr(info, key, value)
            tar.addfile(info)

FILE, LINK, SYM = tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE
write("escape.tar", ("../etc/passwd", FILE, {}))
write("escape-link.tar", ("a", LINK, {"linkname": "../../etc/passwd"}))
write("no-target.tar", ("a", LINK, {"linkname": "b"}))
write("circle.tar", ("a", LINK, {"linkname": "b"}), ("b", LINK, {"linkname": "a"}))
write("loop.tar", ("a", SYM, {"linkname": "b"}), ("b", SYM, {"linkname": "a"}), ("a/x", FILE, {}))
write("below-file.tar", ("a", FILE, {}), ("a/b", FILE, {}))
write("deep.tar", ("d/" * 100000 + "x", FILE, {}))
write("long.tar", ("n" * 256, FILE, {}))
with open("lies.tar", "wb") as file:
    info = tarfile.TarInfo("lies")
    info.size = 1 << 33
    file.write(info.tobuf(tarfile.GNU_FORMAT) + b"short")
with open("garbage.tar", "wb") as file:
    file.write(tarfile.TarInfo("ok").tobuf(tarfile.GNU_FORMAT) + b"no header".ljust(512, b"!"))
EOF

refuses_tar() { # FILE TEXT
    rm -rf bad && layout bad "gzip:$1.tar" && no_index "$2" bad
}
check "a path out of the root" refuses_tar escape "leads out of the root"
check "a hard link out of the root" refuses_tar escape-link "leads out of the root"
check "a hard link to nothing" refuses_tar no-target "not there"
check "hard links in a circle" refuses_tar circle "not there"
check "symlinks in a circle" refuses_tar loop "circle"
check "an entry below a file" refuses_tar below-file "not a directory"
check "a path of 100,000 components" refuses_tar deep "layer 1 of 1"
check "a name of 256 bytes" refuses_tar long "256 bytes"
check "a size that lies" refuses_tar lies "inside of an entry"
check "garbage behind an entry" refuses_tar garbage "checksum"

# ---- too much

# peak MIB COMMAND...: succeeds, and its memory stays below that.
peak() {
    local most=$1
    shift
    python3 - "$most" "$@" <<'EOF'
import resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print("peak memory: %.0f MiB" % mib)
sys.exit(code or mib > float(sys.argv[1]))
EOF
}

bomb_of_zeros() { # 256 MiB, the tar of one file, in 256 kB
    python3 - >bomb.gz <<'EOF'
import sys, tarfile, zlib
SIZE = 1 << 28
info = tarfile.TarInfo("zeros")
info.size = SIZE
z = zlib.compressobj(9, zlib.DEFLATED, 31)
out = sys.stdout.buffer
out.write(z.compress(info.tobuf(tarfile.GNU_FORMAT)))
zeros = bytes(1 << 20)
for _ in range(SIZE >> 20):
    out.write(z.compress(zeros))
out.write(z.compress(bytes(1024)) + z.flush())
EOF
    rm -rf bad && layout bad packed:bomb.gz
    peak 64 "$clip" index --quiet oci:bad:latest bomb.clip
}
check "a bomb of zeros stays below 64 MiB" bomb_of_zeros

many_entries() { # the budget is 64 MiB and 150 bytes an entry
    python3 - 100000 >many.tar <<'EOF'
import sys, tarfile
out = sys.stdout.buffer
for i in range(int(sys.argv[1])):
    out.write(tarfile.TarInfo("d%d/f%d" % (i // 1000, i)).tobuf(tarfile.USTAR_FORMAT))
out.write(bytes(1024))
EOF
    rm -rf bad && layout bad many.tar && peak $((64 + 100100 * 150 / 1048576)) \
        "$clip" index --quiet oci:bad:latest many.clip
    rm -rf many.tar bad
}
check "100,000 entries stay within the budget of memory" many_entries

# ---- indexes

refused_by_all() { # FILE TEXT
    local verb
    for verb in inspect ls verify "stat"; do
        [ $verb = stat ] && set -- "$1" "$2" /
        fails 1 "$2" "$clip" $verb "$1" ${3:-} && grep -qF "$1" .stderr || return 1
    done
}

cut_index() {
    local size n
    size=$(stat -c %s good.clip)
    for n in 1 9 10 31 100 $((size / 2)) $((size - 1)); do
        head -c "$n" good.clip >cut.clip
        refused_by_all cut.clip "cut.clip" || { echo "cut to $n"; return 1; }
    done
    : >cut.clip
    refused_by_all cut.clip empty
}
check "an index that is cut" cut_index

flipped_index() {
    python3 - <<'EOF' || return 1
import random, shutil, subprocess, sys
data = open("good.clip", "rb").read()
clip = sys.argv[1] if len(sys.argv) > 1 else None
random.seed(1)
import os
for i in range(100):
    at = random.randrange(len(data))
    bad = bytearray(data)
    bad[at] ^= 1 << random.randrange(8)
    open("flipped.clip", "wb").write(bad)
    r = subprocess.run([os.environ["CLIP"], "verify", "flipped.clip"], capture_output=True)
    if r.returncode != 1 or r.stderr.count(b"\n") != 1 or b"flipped.clip" not in r.stderr:
        print("byte", at, r)
        sys.exit(1)
EOF
}
export CLIP=$clip
check "an index with a flipped bit" flipped_index

other_version() {
    cp good.clip v.clip && printf '\001' | dd of=v.clip bs=1 seek=9 conv=notrunc status=none
    refused_by_all v.clip "version 1 is not known"
}
check "an index of another version" other_version
check "an index that is something else" refused_by_all tree.tar "not a clip index"
check "an index that is a directory" refused_by_all tree "not a regular file"

blob_changed_since() {
    copy && printf '\377' | dd of="$(layer_of bad)" bs=1 seek=40000 conv=notrunc status=none
    fails 1 "layer 1 of 1" "$clip" verify --deep --quiet --source oci:bad:latest good.clip &&
        rm "$(layer_of bad)" &&
        fails 1 "layer 1 of 1" "$clip" verify --deep --quiet --source oci:bad:latest good.clip &&
        "$clip" verify --deep --quiet --source oci:good:latest good.clip
}
check "verify --deep with blobs that changed" blob_changed_since

no_place_for_the_index() {
    fails 1 "nowhere/out.clip" index oci:good:latest nowhere/out.clip &&
        mkdir -p isdir && fails 1 "directory of that name" index oci:good:latest isdir &&
        [ -z "$(ls -A isdir)" ] && mkfifo pipe &&
        fails 1 "pipe" index oci:good:latest pipe && [ -p pipe ] &&
        [ -z "$(find . -name '*.tmp')" ]
}
check "an output that cannot be written" no_place_for_the_index

# In a mount namespace of its own.
full_disk() {
    mkdir -p small
    unshare -rm bash -c 'mount -t tmpfs -o size=4k none small && head -c 4096 /dev/zero >small/fill &&
        "$1" index --quiet oci:good:latest small/x.clip; code=$?; ls small; exit $code' - "$clip" \
        >left 2>said
    [ $? = 1 ] && cat said && grep -q 'small/x.clip: cannot be written: No space left' said &&
        [ "$(cat left)" = fill ]
}
if unshare -rm true 2>/dev/null; then
    check "a disk that is full" full_disk
else
    skip "a disk that is full" "no user namespaces"
fi

tried_once() {
    copy && printf '\377' | dd of="$(layer_of bad)" bs=1 seek=40000 conv=notrunc status=none
    "$clip" index --verbose oci:bad:latest out.clip >said 2>&1
    [ $? = 1 ] && cat said && ! grep -q 'attempt' said
}
check "a local layer that is damaged is read once" tried_once

finish
