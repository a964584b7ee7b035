#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Mounts coming and going while others are read, and at the end nothing is left: no descriptor, no
# mount, no thread, no memory: soak.sh BUILD_DIR. $CLIP_SOAK_SECONDS (10) is how long; scripts/soak
# runs it longer. Needs root and /dev/fuse.
. "$(dirname "$0")/lib.sh"
begin
. "$here/clipd.sh"
. "$system/programs.sh"
make_programs || { echo "FAIL the image is made"; exit 1; }
N_IMAGES=4 N_WORKERS=4
N_FIRST=60 # rounds, before anything is measured
for ((i = 0; i < N_IMAGES; i++)); do cp programs.clip "image$i.clip"; done
start_daemon || exit 1

n_files() { ls "/proc/$daemon/fd" | wc -l; }
n_threads() { ls "/proc/$daemon/task" | wc -l; }
rss_kib() { awk '/^VmRSS/ { print $2 }' "/proc/$daemon/status"; }

# One worker: mounts, reads or writes, unmounts, over and over; a line for each round, or the end.
work_on() {
    local worker=$1 end=$2 round=0 id root
    while [ $SECONDS -lt "$end" ]; do
        id=w$worker-$((round += 1))
        root=$("$clip" mount --cid "$id" "image$((RANDOM % N_IMAGES)).clip") || return 1
        case $((RANDOM % 4)) in
            0) [ "$(sha256sum <"$root/var/noise" | cut -d' ' -f1)" = "$(cat "$root/var/noise.sha256")" ] || return 1 ;;
            1) echo x >"$root/etc/new" && cp "$root/var/noise" "$root/copy" || return 1 ;;
            2) find "$root" >/dev/null || return 1 ;;
            3) (cd "$root" && "$clip" umount --lazy "$id") || return 1 ;;
        esac
        [ ! -e "$root" ] || "$clip" umount "$id" >/dev/null 2>&1 || "$clip" umount --lazy "$id" ||
            return 1
        echo "$id"
    done
}

soak() {
    local end=$((SECONDS + $1)) worker failed=0 pids=()
    for ((worker = 0; worker < N_WORKERS; worker++)); do
        work_on $worker $end >"rounds$worker" 2>"errors$worker" &
        pids+=($!)
    done
    for worker in "${pids[@]}"; do wait "$worker" || failed=$((failed + 1)); done
    cat errors*
    [ $failed -eq 0 ]
}

at_rest() {
    [ "$(n_mounts)" = 0 ] && api GET /v1/images | grep -F '{"images":[]}'
}

no_more() {
    local before=$1 slack=$2 after
    after=$("${@:3}")
    echo "$before before, $after after"
    [ "$after" -le $((before + slack)) ]
}

# What a first round leaves is caches and the pool, not leaks.
n=0
while [ $n -lt $N_FIRST ]; do
    soak 3 || { echo "FAIL the first mounts come and go"; exit 1; }
    n=$((n + $(cat rounds* | wc -l)))
done
until_true at_rest
files=$(n_files) threads=$(n_threads) rss=$(rss_kib)
check "mounts come and go for ${CLIP_SOAK_SECONDS:=10} s" soak "$CLIP_SOAK_SECONDS"
check "then there are none left" until_true at_rest
check "no descriptor leaks" until_true no_more "$files" 0 n_files
check "no thread leaks" until_true no_more "$threads" 0 n_threads
check "no memory leaks" no_more "$rss" 4096 rss_kib
check "no directory is left" bash -c "! ls -d run/w*"
check "no state is left" bash -c "[ -z \"\$(ls -A root/state)\" ]"
check "clipd ends well" stop_daemon
[ -z "${CLIP_SOAK_TELL:-}" ] ||
    echo "rounds: $(cat rounds* | wc -l); descriptors $files; RSS $rss KiB before"
finish
