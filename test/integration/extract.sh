#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# clip extract and the span cache from the command line: the tree that comes out is the index's, as
# root and without; what was filled while indexing is not fetched again.
. "$(dirname "$0")/lib.sh"
begin

is_root() {
    [ "$(id -u)" = 0 ]
}

make_tree() {
    mkdir -p "$1/dir/empty" "$1/etc" "$1/$(printf 'd/%.0s' $(seq 100))"
    echo hello >"$1/etc/motd"
    : >"$1/etc/empty"
    seq 400000 >"$1/dir/numbers"
    head -c 3000000 /dev/urandom >"$1/dir/random"
    truncate -s 5M "$1/dir/sparse" && printf x >>"$1/dir/sparse"
    ln "$1/etc/motd" "$1/dir/hard"
    ln -s ../etc/motd "$1/dir/soft"
    ln -s /etc/passwd "$1/dangling"
    mkfifo -m 600 "$1/fifo"
    printf x >"$1/$(printf '\377 \n')"
    chmod 4755 "$1/dir/random"
    chmod 0555 "$1/etc"
    setfattr -n user.note -v value "$1/dir/numbers" 2>/dev/null
    touch -d '2024-02-29 12:34:56.987654321' "$1/dir/numbers"
    if is_root; then
        mknod -m 640 "$1/null" c 1 3
        chown 1000:2000 "$1/dir/numbers"
        chown -h 7:8 "$1/dir/soft"
        setcap cap_net_raw+ep "$1/dir/random" 2>/dev/null
    fi
}

make_tree tree
tar -C tree --xattrs --xattrs-include='*' --sparse --format=pax -cf tree.tar .
layout image gzip:tree.tar
index oci:image:latest image.clip || exit 1

# ---- what comes out

comes_out_as_it_is() {
    "$clip" extract --quiet image.clip out && same_tree image.clip out
}
if is_root; then
    check "what is extracted is what the index says" comes_out_as_it_is
else
    skip "what is extracted is what the index says" "no root"
fi

holes_stay_holes() {
    [ "$(stat -c %b out/dir/sparse)" -lt 100 ]
}
! is_root || check "holes stay holes" holes_stay_holes

comes_out_without_root() {
    mkdir -m 777 mine && chmod 755 . && chmod 644 image.clip && chmod -R a+rX image || return 1
    as_nobody "$clip" extract --quiet image.clip mine/out || return 1
    cmp tree/dir/random mine/out/dir/random && cmp tree/etc/motd mine/out/dir/hard &&
        [ "$(stat -c %a mine/out/etc)" = 555 ] && [ "$(readlink mine/out/dangling)" = /etc/passwd ] &&
        [ "$(stat -c %Y mine/out/dir/numbers)" = "$(stat -c %Y tree/dir/numbers)" ] &&
        [ ! -e mine/out/null ]
}
if nobody_can_run "$clip"; then
    check "without root owners and devices are left out" comes_out_without_root
else
    skip "without root owners and devices are left out" "no root, or others cannot run clip"
fi

comes_out_in_part() {
    "$clip" extract --quiet --from /dir image.clip part && cmp tree/dir/random part/random &&
        [ ! -e part/etc ]
}
check "a directory alone" comes_out_in_part

says_it_as_json() {
    "$clip" extract --json image.clip asjson >facts && jq -e '.content_size > 3000000' facts
}
check "facts as JSON" says_it_as_json

# ---- what is refused

refuses_what_is_full() {
    mkdir full && touch full/x && fails 1 "not empty" "$clip" extract image.clip full
}
check "a directory with something in it" refuses_what_is_full

refuses_files() {
    fails 1 "directory" "$clip" extract --from /etc/motd image.clip nothing && [ ! -e nothing ]
}
check "a file instead of a directory" refuses_files

says_when_it_is_not_complete() {
    mv image moved
    fails 1 "not complete" "$clip" extract image.clip broken
    local r=$?
    mv moved image
    return $r
}
check "a source that is gone" says_when_it_is_not_complete

# ---- the cache

fetches_nothing_twice() {
    index --cache-dir cache --fill-cache oci:image:latest filled.clip && cmp image.clip filled.clip &&
        "$clip" extract --json --cache-dir cache filled.clip warm >facts &&
        jq -e '.bytes_fetched == 0' facts && cmp tree/dir/random warm/dir/random
}
check "what was filled while indexing is not fetched" fetches_nothing_twice

survives_junk() {
    local file
    for file in cache/*-*; do
        printf 'junk' | dd of="$file" bs=1 seek=$((64 << 20)) conv=notrunc status=none
    done
    "$clip" cat --cache-dir cache filled.clip /dir/random >random 2>.log && cmp tree/dir/random random
}
check "junk in the cache is not served" survives_junk

finish
