#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Indexes of real tars (GNU tar, bsdtar, Python) and of images made with umoci and skopeo: the tree is
# that of the directory which was packed, or which umoci unpacks; the bytes do not depend on --jobs.
. "$(dirname "$0")/lib.sh"
begin

is_root() {
    [ "$(id -u)" = 0 ]
}

# ---- a directory with everything in it

name255=$(printf 'n%.0s' $(seq 255))
deep=$(printf 'd/%.0s' $(seq 200))

make_plain() { # what V7 can hold
    mkdir -p "$1/dir/empty" "$1/etc"
    echo hello >"$1/etc/motd"
    : >"$1/etc/empty"
    head -c 100000 /dev/urandom >"$1/dir/random"
    ln "$1/etc/motd" "$1/dir/hard"
    ln -s ../etc/motd "$1/dir/soft"
    ln -s /nowhere "$1/dangling"
    chmod 4755 "$1/dir/random"
    chmod 2711 "$1/dir/empty"
    chmod 1777 "$1/dir"
    touch -d @0 "$1/etc/empty"
}

make_ustar() { # what ustar can hold
    make_plain "$1"
    mkfifo -m 600 "$1/fifo"
    printf x >"$1/$(printf '\377\376 \303\244 \\n')"
    printf x >"$1/with
newline"
    if is_root; then
        mknod -m 640 "$1/null" c 1 3
        mknod "$1/loop" b 7 200
        chown 1000:2000 "$1/etc/motd"
        chown -h 7:8 "$1/dir/soft"
    fi
}

make_gnu() { # what GNU's and pax can hold
    make_ustar "$1"
    printf long >"$1/$name255"
    mkdir -p "$1/$deep"
    printf deep >"$1/${deep}file"
    ln "$1/$name255" "$1/${deep}hard"
    ln -s "$deep$deep" "$1/longlink"
    touch -d 1901-12-14 "$1/etc/empty"
    touch -d 2400-01-01 "$1/dir/random"
    ! is_root || chown 3000000000:4000000000 "$1/dir/random"
}

make_pax() { # what pax can hold
    make_gnu "$1"
    touch -d '2024-02-29 12:34:56.987654321' "$1/etc/motd"
    touch -hd '1969-12-31 23:59:58.000000001' "$1/dir/soft"
    touch -d '2001-01-01 00:00:00.5' "$1/dir"
    if is_root; then
        setfattr -n user.text -v value "$1/etc/motd"
        setfattr -n user.binary -v 0x00ff0a3d00 "$1/etc/motd"
        setfattr -n user.on.dir -v x "$1/dir"
        setfattr -n trusted.t -v x "$1/dir"
        setcap cap_net_raw+ep "$1/dir/random"
    fi
}

make_sparse() {
    truncate -s 3M "$1/holes"
    printf data | dd of="$1/holes" bs=1 seek=1000000 conv=notrunc status=none
    printf end | dd of="$1/holes" bs=1 seek=3000000 conv=notrunc status=none
    truncate -s 1M "$1/nothing"
    seq 100000 >"$1/no-holes"
    # many extents, so that maps go on in further blocks
    python3 - "$1/many" <<'EOF'
import sys
with open(sys.argv[1], "wb") as file:
    for i in range(200):
        file.seek(i * 65536)
        file.write(b"%d" % i)
EOF
}

# ---- tars

one_time() { # DIR TIME
    find "$1" -exec touch -hd "@$2" {} +
}

whole_seconds() { # V7, ustar and GNU have no nanoseconds
    python3 - "$1" <<'EOF'
import os, sys
for at, dirs, files in os.walk(sys.argv[1], topdown=False):
    for path in [os.path.join(at, name) for name in dirs + files] + [at]:
        ns = os.lstat(path).st_mtime_ns // 10**9 * 10**9
        os.utime(path, ns=(ns, ns), follow_symlinks=False)
EOF
}

tar_is_indexed() { # LAYER DIR
    rm -rf layout out.clip
    layout layout "$1" && index oci:layout:latest out.clip && same_tree out.clip "$2"
}

pack_with() { # NAME DIR COMMAND...: makes t.tar of "."
    local name=$1 dir=$2
    shift 2
    rm -f t.tar
    if ! (cd "$dir" && "$@" .) 2>.err; then
        echo "FAIL $name is packed"
        cat .err
        failures=$((failures + 1))
        return
    fi
    check "$name" tar_is_indexed t.tar "$dir"
}

for kind in plain ustar gnu pax; do
    mkdir tree-$kind
    make_$kind tree-$kind
done
for kind in plain ustar gnu; do
    whole_seconds tree-$kind
done

gnu=(tar --numeric-owner --sort=name -cf "$work/t.tar")
pack_with "tar --format=v7" tree-plain "${gnu[@]}" --format=v7
pack_with "tar --format=ustar" tree-ustar "${gnu[@]}" --format=ustar
pack_with "tar --format=oldgnu" tree-gnu "${gnu[@]}" --format=oldgnu
pack_with "tar --format=gnu" tree-gnu "${gnu[@]}" --format=gnu
pack_with "tar --format=posix" tree-pax "${gnu[@]}" --format=posix --xattrs --xattrs-include='*'
pack_with "tar with a global header" tree-gnu "${gnu[@]}" --format=posix \
    --pax-option=globexthdr.name=g,comment=text

mkdir tree-sparse
make_sparse tree-sparse
one_time tree-sparse 1700000000
pack_with "tar -S --format=gnu" tree-sparse "${gnu[@]}" -S --format=gnu
for version in 0.0 0.1 1.0; do
    pack_with "tar -S of pax $version" tree-sparse "${gnu[@]}" -S --format=posix \
        --sparse-version=$version
done

mkdir tree-acl
if is_root && cp -a tree-plain/. tree-acl && setfacl -m u:41000:r,g:41001:rwx tree-acl/etc/motd \
    2>/dev/null; then
    setfacl -d -m u:41000:rx tree-acl/dir
    pack_with "tar --acls" tree-acl "${gnu[@]}" --format=posix --acls
else
    skip "tar --acls" "the file system has none, or this is not root"
fi

if have bsdtar; then
    bsd=(bsdtar --numeric-owner -cf "$work/t.tar")
    # it writes times before 1970 and after 2242 in ways of its own
    touch -d @0 tree-gnu/etc/empty tree-pax/etc/empty
    touch -d 2200-01-01 tree-gnu/dir/random tree-pax/dir/random
    touch -hd @5.000000001 tree-pax/dir/soft
    pack_with "bsdtar --format=ustar" tree-ustar "${bsd[@]}" --format=ustar
    pack_with "bsdtar --format=gnutar" tree-gnu "${bsd[@]}" --format=gnutar
    pack_with "bsdtar --format=pax" tree-pax "${bsd[@]}" --format=pax
    pack_with "bsdtar of a sparse file" tree-sparse "${bsd[@]}" --format=pax --read-sparse
else
    skip "bsdtar" "there is none (package libarchive-tools)"
fi

python_tar() {
    python3 -c 'import sys, tarfile
with tarfile.open(sys.argv[2], "w", format=getattr(tarfile, sys.argv[1] + "_FORMAT"),
                  encoding="utf-8", errors="surrogateescape") as t: t.add(sys.argv[3])' \
        "$1" "$work/t.tar" "$2"
}
pack_with "Python's GNU tar" tree-gnu python_tar GNU
one_time tree-gnu 1700000000.5 # Python's times are floats
pack_with "Python's pax tar" tree-gnu python_tar PAX

# ---- images of umoci

umoci_ready() {
    have umoci && is_root
}

step() {
    umoci repack --refresh-bundle --image img:latest bundle >/dev/null 2>&1
}

make_image() {
    umoci init --layout img && umoci new --image img:latest &&
        umoci unpack --image img:latest bundle >/dev/null 2>&1 || return 1
    local r=bundle/rootfs
    make_pax $r
    touch -d 2037-01-01 $r/dir/random # umoci has 32 bits for a time
    mkdir -p $r/gone/below $r/emptied $r/proc $r/dev $r/usr/lib
    echo 1 >$r/gone/below/file
    echo 2 >$r/emptied/old
    echo 3 >$r/removed
    echo 4 >$r/proc/hidden
    echo dir >$r/becomes-dir
    mkdir $r/becomes-file
    echo x >$r/becomes-file/x
    ln -s usr/lib $r/lib
    echo so >$r/usr/lib/a.so
    step || return 1
    rm -rf $r/gone $r/removed $r/becomes-dir $r/becomes-file $r/emptied
    mkdir $r/becomes-dir $r/emptied
    echo y >$r/becomes-dir/y
    echo z >$r/becomes-file
    echo new >$r/emptied/new
    ln $r/etc/motd $r/third-name
    echo so2 >$r/usr/lib/b.so
    step || return 1
    rm $r/dir/hard
    chmod 600 $r/etc/motd
    step
}

is_as_unpacked() { # IMAGE
    rm -rf unpacked out.clip
    umoci raw unpack --image "$1" unpacked && index "oci:$1" out.clip &&
        same_tree out.clip unpacked "${@:2}"
}

same_list() { # FILE.clip FILE.clip
    "$clip" ls -lR --json "$1" >list-1 && "$clip" ls -lR --json "$2" >list-2 && cmp list-1 list-2
}

copy_and_compare() { # SKOPEO-ARGUMENT...: the last is the destination
    skopeo --insecure-policy copy -q "${@:1:$#-1}" oci:img:latest "${*: -1}" &&
        index "${*: -1}" copy.clip && same_list img.clip copy.clip
}

if umoci_ready; then
    check "umoci makes an image" make_image
    check "image of three layers" is_as_unpacked img:latest
    index oci:img:latest img.clip
    if have skopeo; then
        check "the same as zstd" copy_and_compare --dest-compress-format zstd \
            --dest-compress oci:zstd:latest
        check "the same as docker-archive" copy_and_compare docker-archive:docker.tar
        check "the same as oci-archive" copy_and_compare oci-archive:oci.tar
    else
        skip "copies by skopeo" "there is no skopeo"
    fi
else
    skip "image of three layers" "needs umoci and root"
fi

# ---- markers in every order, by hand

hand_made() {
    mkdir -p low/d low/keep low/op/sub up/op up/d
    echo 1 >low/d/a && echo 1 >low/d/b && echo 1 >low/keep/k && echo 1 >low/op/sub/x
    echo 1 >low/op/y && echo 1 >low/file && ln low/file low/link
    : >up/op/.wh..wh..opq && echo 2 >up/op/z && : >up/d/.wh.a && : >up/.wh.file && : >up/.wh.none
    one_time low 1700000000 && one_time up 1700000000
    local tar="tar --numeric-owner --owner=0 --group=0 --no-recursion"
    (cd low && $tar -cf ../low.tar d d/a d/b keep keep/k op op/sub op/sub/x op/y file link)
    (cd up && $tar -cf ../up.tar op/z op/.wh..wh..opq op .wh.none .wh.file d/.wh.a d)
    layout hand gzip:low.tar gzip:up.tar
}

hand_made
check "opaque markers after what they keep" is_as_unpacked hand:latest --no-dir-times

empties_the_root() {
    rm -rf up && mkdir up && : >up/.wh..wh..opq && echo 1 >up/new && one_time up 1700000000
    tar -C up --owner=0 --group=0 -cf up.tar new .wh..wh..opq
    layout root-opaque low.tar up.tar && index oci:root-opaque:latest out.clip
    [ "$("$clip" ls -R out.clip)" = "/:
new" ]
}
check "opaque at the root" empties_the_root

# ---- the same bytes

same_bytes() {
    index --jobs 1 oci:hand:latest 1.clip && index --jobs 8 oci:hand:latest 8.clip &&
        cmp 1.clip 8.clip || return 1
    ! [ -d img ] || { index -j 1 oci:img:latest 1.clip && index -j 3 oci:img:latest 3.clip &&
        cmp 1.clip 3.clip; }
}
check "the same bytes with other --jobs" same_bytes

# ---- options and types

warns_of_wrong_type() {
    layout wrong-type gzip+tar+zstd:low.tar tar+tar+gzip:up.tar
    "$clip" index --progress none oci:wrong-type:latest wrong.clip >out 2>err || return 1
    cat err
    [ "$(grep -c 'warning.*media type' err)" = 2 ] && "$clip" verify --quiet wrong.clip
}
check "a wrong media type is a warning" warns_of_wrong_type

refuses_foreign_layer() {
    layout foreign "gzip+application/vnd.oci.image.layer.nondistributable.v1.tar+gzip:low.tar"
    rm -f foreign/blobs/sha256/"$(gzip_digest foreign)"
    fails 1 distribut index oci:foreign:latest foreign.clip
}
gzip_digest() {
    local m
    m=$(jq -r '.manifests[0].digest' "$1/index.json")
    jq -r '.layers[0].digest' "$1/blobs/sha256/${m#sha256:}" | sed 's/sha256://'
}
check "a layer that nobody may distribute" refuses_foreign_layer

keeps_runtime_dirs() {
    mkdir -p rt/proc rt/dev rt/sys/x && echo 1 >rt/proc/1 && echo 1 >rt/a
    tar -C rt -cf rt.tar . && layout rt rt.tar
    index oci:rt:latest rt.clip && [ "$("$clip" ls rt.clip | tr '\n' ' ')" = "a " ] &&
        index --keep-runtime-dirs oci:rt:latest rt2.clip &&
        [ "$("$clip" ls rt2.clip | tr '\n' ' ')" = "a dev proc sys " ] &&
        "$clip" verify --deep --quiet --progress none rt.clip &&
        "$clip" verify --deep --quiet --progress none rt2.clip
}
check "--keep-runtime-dirs" keeps_runtime_dirs

finish
