#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An image of a registry, mounted without an index: the pass that makes the index fills the cache, so
# nothing is fetched twice, however many ask at once: fill.sh BUILD_DIR. Needs root and /dev/fuse.
. "$(dirname "$0")/lib.sh"
begin
. "$here/clipd.sh"

# Three layers, one for each codec, each of several spans.
make_image() {
    local i
    mkdir -p tree
    for i in 1 2 3; do
        mkdir -p "tree/$i/small"
        head -c 5000000 /dev/urandom | base64 >"tree/$i/large"
        head -c 300000 /dev/urandom >"tree/$i/noise"
        split -b 2000 "tree/$i/noise" "tree/$i/small/"
        tar -C tree -cf "layer$i.tar" "$i"
    done
    layout image gzip:layer1.tar zstd:layer2.tar tar:layer3.tar
    (cd tree && find . -type f -exec sha256sum {} + | sort) >wanted
}

stop_registry() {
    kill $registry 2>/dev/null
}

serve_image() {
    port=$(free_port)
    PYTHONPATH=$here/../../bench python3 -m blobs "$port" image 1 2>registry.err &
    registry=$!
    at_end+=(stop_registry)
    until_true curl -sf "http://127.0.0.1:$port/v2/"
}

whole() {
    (cd "$work/run/$1/rootfs" && find . -type f -exec sha256sum {} + | sort) | cmp - wanted
}

# What the registry has sent of each blob is its size: the layers' and the config's.
sent_once() {
    local digest bytes n=0
    while read -r digest bytes; do
        [ "$bytes" = "$(stat -c %s "image/blobs/sha256/${digest#sha256:}")" ] || {
            echo "$digest: $bytes bytes were sent"
            return 1
        }
        n=$((n + 1))
    done < <(curl -s "http://127.0.0.1:$port/sent" | jq -r 'to_entries[] | "\(.key) \(.value)"')
    [ $n = 4 ] || { echo "$n blobs were sent, not 4"; return 1; }
}

n_indexed() {
    api GET /metrics | awk '/^clip_index_jobs_done_total/ { print $2 }'
}

mount_at_once() {
    local n failed=0 clients=()
    for n in {1..8}; do
        "$clip" mount --quiet --cid "$1$n" "127.0.0.1:$port/team/app:1" >"$1$n.out" 2>&1 &
        clients+=($!)
    done
    for n in "${clients[@]}"; do wait "$n" || failed=$((failed + 1)); done
    cat "$1"*.out
    return $failed
}

all_whole() {
    local n
    for n in {1..8}; do whole "$1$n" || return 1; done
}

make_image
check "a registry serves the image" serve_image
start_daemon || exit 1
check "eight ask for an image without an index at once" mount_at_once first
check "it was indexed once" test "$(n_indexed)" = 1
check "by then each blob was sent once" sent_once
check "every file of every mount is right" all_whole first
check "and nothing was fetched for it" sent_once
check "eight more of it" mount_at_once further
check "are mounted from its index" test "$(n_indexed)" = 1
check "and fetch nothing" sent_once
"$clip" umount --all
stop_daemon
start_daemon || exit 1
check "the next clipd mounts it" "$clip" mount --quiet --cid later "127.0.0.1:$port/team/app:1"
check "and reads it" whole later
check "from what the cache has" sent_once
"$clip" umount --all
stop_daemon
check "clipd ends well" test $? = 0
finish
