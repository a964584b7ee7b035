#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every byte of mounted images against the unpacked ones, by many readers at once, while the origin
# fails, the cache is far too small and somebody writes into its files, and mounts come and go:
# stress.sh BUILD_DIR. $CLIP_STRESS_SECONDS (10) is how long, $CLIP_STRESS_SEED (1) what happens;
# scripts/stress runs it longer. Needs root and /dev/fuse.
. "$(dirname "$0")/lib.sh"
begin
. "$here/clipd.sh"
. "$system/faulty.sh"
seconds=${CLIP_STRESS_SECONDS:-10} seed=${CLIP_STRESS_SEED:-1}
N_READERS=6
CACHE_MIB=64    # more than is kept in memory, less than there is
RSS_MAX_MIB=224 # spans in memory 48, in flight 64, what is compressed of them, the rest

stress() {
    python3 "$system/stress.py" "$@"
}

# make_layer IMAGE NAME COMPRESSOR N_FILES MIB: NAME.packed, and its files in IMAGE.unpacked/NAME.
make_layer() {
    mkdir -p "$1.unpacked/$2"
    stress make "$seed" "$1.unpacked/$2" "$4" "$5" &&
        tar -C "$1.unpacked" -cf - "$2" | $3 >"$2.packed"
}

# Layers of several sorts; two images that have one in common.
make_images() {
    local name
    for name in a b c d; do
        make_layer one $name "gzip -1" 40 16 || return 1
    done
    make_layer one zstd "zstd -q -1" 40 8 && make_layer one shared "gzip -1" 200 16 &&
        make_layer two only "gzip -1" 40 16 && cp -al one.unpacked/shared two.unpacked &&
        layout one packed:{a,shared,b,c,d}.packed packed+tar+zstd:zstd.packed &&
        layout two packed:{shared,only}.packed
}

index_images() {
    local name
    for name in one two; do
        "$clip" index --quiet --span-size 256KiB "127.0.0.1:$port/$name:latest" "$name.clip" ||
            return 1
    done
    cp one.clip again.clip && cp one.clip comes.clip && cp two.clip goes.clip
}

# Another image's mount comes and goes, all the time; each time a little of it is read.
come_and_go() {
    local end=$((SECONDS + $1)) round=0 name images=(comes goes) unpacked=(one.unpacked two.unpacked)
    while [ $SECONDS -lt "$end" ]; do
        name=$((round % 2))
        "$clip" mount --quiet --ro --cid "round$round" "${images[name]}.clip" >its-root || return 1
        stress read $((seed + round)) 0.2 1 "${unpacked[name]}=$(cat its-root)" || return 1
        "$clip" umount "round$round" || return 1
        round=$((round + 1))
    done
    echo "$round mounts came and went"
}

mount_images() {
    local mount
    for mount in a:one b:again c:two; do
        "$clip" mount --quiet --ro --cid "${mount%:*}" "${mount#*:}.clip" >/dev/null || return 1
    done
}

# The root of an image's mount, without an overlay.
lower_of() {
    api GET "/v1/containers/$1" | jq -r .lower
}

# torture SECONDS: prints what was done; fails if any part did.
torture() {
    local failed=0 pids=() pid
    stress spoil "$seed" "$1" "$daemon" &
    pids+=($!)
    come_and_go "$1" &
    pids+=($!)
    stress read "$seed" "$1" $N_READERS "one.unpacked=$(lower_of a)" "one.unpacked=$work/run/a/rootfs" \
        "one.unpacked=$(lower_of b)" "two.unpacked=$(lower_of c)" &
    pids+=($!)
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
    return $failed
}

n_files() { ls "/proc/$daemon/fd" | wc -l; }
n_threads() { ls "/proc/$daemon/task" | wc -l; }
peak_mib() { awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$daemon/status"; }
is_at_rest() { [ "$(n_mounts)" = 0 ]; }

no_more_files() {
    n_files
    [ "$(n_files)" -le "$files" ]
}

at_most() {
    echo "$1, at most $2"
    [ "$1" -le "$2" ]
}

# metric NAME: what clipd counts.
metric() {
    api GET /metrics | awk -v name="clip_$1" '$1 == name { print $2 }'
}

tell() {
    sed '/^$/d' .out
    echo "peak RSS $(peak_mib) MiB in $1; $(metric cache_range_requests_total) requests," \
        "$(metric cache_spans_loaded_total) spans loaded," \
        "$(metric cache_spans_corrupt_total) of them spoiled," \
        "$(metric cache_evictions_total) evicted"
} >&2

happened() {
    echo "$1: $(metric "$1")"
    [ "$(metric "$1")" -gt 0 ]
}

make_images >.out 2>&1 || { echo "FAIL the images are made"; cat .out; exit 1; }
start_registry "$seed" 0 one="$work/one" two="$work/two" || exit 1
index_images || { echo "FAIL the images are indexed"; exit 1; }
start_daemon --cache-size $CACHE_MIB"MiB" || exit 1

# what a first round leaves is the pool, not leaks
"$clip" mount --quiet --ro --cid first two.clip >/dev/null && stress read 1 1 2 \
    "two.unpacked=$(lower_of first)" >/dev/null && "$clip" umount first
until_true is_at_rest
threads=$(n_threads) files=$(n_files)

dial 0.15
mount_images || exit 1
check "more is read than the cache has room for" bash -c \
    "find '$(lower_of a)' '$(lower_of c)' -type f -print0 | xargs -0 cat >/dev/null"
check "every byte is right for $seconds s of faults, evictions and spoiled files" torture "$seconds"
tell "$seconds s"
check "spans were evicted" happened cache_evictions_total
check "spoiled spans were noticed" happened cache_spans_corrupt_total
check "no sanitizer complains" bash -c "! grep Sanitizer daemon.err"
stop_daemon -KILL 2>/dev/null
start_daemon --cache-size $CACHE_MIB"MiB" || exit 1
mount_images || exit 1
check "and with what a killed process left" torture $((seconds / 3))
tell "$((seconds / 3)) s"
check "the cache keeps its budget" at_most "$(du -sm cache | cut -f1)" $((CACHE_MIB + 1))
case $build in
    *san*) ;; # the sanitizer has its own
    *) check "memory is bounded" at_most "$(peak_mib)" $RSS_MAX_MIB ;;
esac
check "no read failed" bash -c "! grep 'read: inode' log"
check "everything unmounts" "$clip" umount --all
until_true is_at_rest
stop_registry # with it go the connections that were kept
check "no descriptor leaks" until_true no_more_files
check "no thread leaks" at_most "$(n_threads)" "$threads"
check "clipd ends well" stop_daemon
finish
