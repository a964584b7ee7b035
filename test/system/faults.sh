#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An origin that is away for longer than clip is patient, as a reader of a mount sees it: EIO after
# all tries and not before, one line in the log, and a read that succeeds when it is back:
# faults.sh BUILD_DIR. Needs root and /dev/fuse.
. "$(dirname "$0")/lib.sh"
begin
. "$here/clipd.sh"
. "$system/faulty.sh"
N_TRIES=9         # net/retry.c; the waits between them are 100 ms, 200, ... up to 5 s, or half of it
LEAST_MS=8100 MOST_MS=60000

n_lines() {
    grep -c 'read: inode' log
}

same() {
    cmp "tree/$1" "$root/$1"
}

# What a read says that fails, and after how many ms.
failing_read() {
    local began=${EPOCHREALTIME/./}
    cat "$root/$1" 2>&1 >/dev/null | sed 's/.*: //'
    echo $(((${EPOCHREALTIME/./} - began) / 1000)) >"took.$1"
}

mkdir tree && for name in one two three; do
    head -c 3000 /dev/urandom >tree/$name && head -c 2000000 /dev/urandom >tree/gap-$name
done
tar -C tree -cf image.tar one gap-one two gap-two three
layout image gzip:image.tar
start_registry 1 0 image="$work/image" || exit 1
"$clip" index --quiet --span-size 64KiB "127.0.0.1:$port/image:latest" image.clip || exit 1
start_daemon || exit 1
root=$("$clip" mount --quiet --ro --cid a image.clip) || exit 1

dial 1
before=$(n_asked)
failing_read one >said.one &
reader=$!
asked_once() { [ "$(n_asked)" -gt "$before" ]; }
check "the origin is asked" until_true asked_once
check "the mount answers meanwhile" bash -c "ls -lR '$root' | grep -q gap-two"
wait $reader
check "a read fails with EIO when the origin is away" is "$(cat said.one)" "Input/output error"
check "after $N_TRIES tries" is $(($(n_asked) - before)) $N_TRIES
check "not before the waits between them, and not long after" \
    test "$(cat took.one)" -ge $LEAST_MS -a "$(cat took.one)" -le $MOST_MS
check "one line in the log says so" is "$(n_lines)" 1
check "with the cause" grep 'read: inode .*127.0.0.1.*503' log
check "without anybody's secret or a second sentence" bash -c "! grep -i 'authorization' log"

failing_read two >said.two &
reader=$!
before=$(n_asked)
check "the next read asks again" until_true asked_once
dial 0
wait $reader
check "and succeeds if the origin comes back in time" is "$(cat said.two)" ""
check "with the right bytes" same two
check "so does the one that had failed" same one
check "a file that was not asked for yet, too" same three
check "the log has nothing more to say" is "$(n_lines)" 1
check "the failure was counted" bash -c \
    "'$clip' stats --json a | jq -e '.counters.errors == 1'"

# ---- no origin at all
before=$(n_asked)
stop_registry
failing_read gap-two >said.gap-two 2>/dev/null &
reader=$!
kill_reader() {
    kill -KILL $(pgrep -P $reader cat)
}
check "a reader that waits can be killed" until_true kill_reader
wait $reader 2>/dev/null
check "before it has tried for the last time" test "$(cat took.gap-two)" -lt $LEAST_MS
check "what was read is still there" same three
check "clip umount does not wait for the origin" timeout $((LEAST_MS / 1000)) "$clip" umount a
check "clipd ends well" stop_daemon
finish
