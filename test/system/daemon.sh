#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# clipd with mounts: sharing, reuse, death, restart, the end of everything: daemon.sh BUILD_DIR.
# Needs root and /dev/fuse. What it mounts is in a mount namespace of its own.
. "$(dirname "$0")/lib.sh"
begin
. "$here/clipd.sh"
. "$system/programs.sh"
make_programs || { echo "FAIL the image is made"; exit 1; }

root_of() {
    echo "$work/run/$1/rootfs"
}

n_images() {
    api GET /v1/images | jq '.images | length'
}

one_image_left() {
    is "$(n_images)" 1
}

users_of_first_image() {
    api GET /v1/images | jq '.images[0].containers'
}

gone() {
    [ "$(api GET "/v1/containers/$1" -o /dev/null -w '%{http_code}')" = 404 ] &&
        [ ! -e "$work/run/$1" ]
}

no_images_left() {
    [ "$(n_images)" = 0 ] && [ -z "$(ls -A "$work/run/.images")" ]
}

whole() {
    is "$(sha256sum <"$1/var/noise" | cut -d' ' -f1)" "$(cat "$1/var/noise.sha256")"
}

# The scheduling policies of a process's threads, each once: "0" is its loop's, "3" its pool's.
policies_of() {
    awk '{ print $41 }' "/proc/$1/task/"[0-9]*/stat | sort -u | paste -sd' '
}

latency_limits_of() {
    find "/proc/$1/fd" -lname /dev/cpu_dma_latency | wc -l
}

# Work for it, and whether that was enough.
has_polled() {
    "$clip" mount --cid polled programs.clip && whole "$(root_of polled)"
    "$clip" umount polled
    is "$(latency_limits_of "$daemon")" 1 &&
        api GET /metrics | grep -q '^clip_idle_polling_seconds_count [1-9]'
}

start_daemon || exit 1
check "threads of the pool do not take the loop's core" is "$(policies_of "$daemon")" "0 3"

# ---- one container
check "clip mount prints the root" is "$("$clip" mount --cid a programs.clip)" "$(root_of a)"
check "the tree is there and right" whole "$(root_of a)"
check "it can be written to" bash -c "echo hello >'$(root_of a)/hello'"
check "what is written lies in its upper" is "$(cat run/a/upper/hello)" hello
check "the same ID twice is refused" fails 1 "is there already" "$clip" mount --cid a programs.clip
check "clip ps shows it" says "$(root_of a)" "$clip" ps
check "clip stats counts what was read" bash -c "'$clip' stats --json a | jq -e '.counters.reads > 0'"

# ---- sharing
check "a second container shares the image" "$clip" mount --cid b programs.clip
check "one image is mounted" is "$(n_images)" 1
check "for two containers" is "$(users_of_first_image)" 2
check "they do not see each other's files" test ! -e "$(root_of b)/hello"
cp programs.clip copy.clip
check "another file is another image" "$clip" mount --cid c copy.clip
check "two images are mounted" is "$(n_images)" 2
check "clip umount ends one" "$clip" umount c
check "with its directory" gone c
check "and its image" until_true one_image_left
check "a busy one is refused" bash -c "cd '$(root_of b)' && ! '$clip' umount b"
check "and stays" is "$(state_of b)" ready
check "unless lazily" bash -c "cd '$(root_of b)' && '$clip' umount --lazy b"
check "clip umount takes a directory, too" "$clip" umount "$(root_of a)"
check "an ID can be used again" "$clip" mount --cid a programs.clip
check "with nothing of before" test ! -e "$(root_of a)/hello"
check "clip umount --all ends the rest" "$clip" umount --all
check "then no image is left" until_true no_images_left
check "and no mount" is "$(n_mounts)" 0

# ---- needs
needs_and_theirs() { # PATH: what it needs, and what those need
    python3 - "$clip" programs.clip "$1" <<'EOF'
import json, subprocess, sys
clip, index, path = sys.argv[1:]
found, todo = set(), [path]
while todo:
    out = subprocess.run([clip, "stat", "--json", index, todo.pop()], stdout=subprocess.PIPE, check=True)
    new = {need["path"] for need in json.loads(out.stdout)["needs"]} - found
    found |= new
    todo += new
print(*sorted(found), sep="\n")
EOF
}
for program in ls id; do
    check "what $program needs is what ld.so loads" is "$(needs_and_theirs "/bin/$program")" \
        "$(ldd "$(type -P $program)" | grep -o '/[^ ]*' | sort)"
done

# ---- profiles
cp programs.clip profiled.clip
"$clip" mount --cid fresh profiled.clip >/dev/null
check "clip profile wants to know what was read" fails 1 "nothing was read" \
    "$clip" profile fresh
whole "$(root_of fresh)"
check "clip profile writes into the index" says "spans ahead" "$clip" profile fresh
check "clip inspect shows it" says "fetched ahead by a mount" "$clip" inspect profiled.clip
check "it is an index as before" "$clip" verify --deep profiled.clip
check "docs/format.md says enough to read it" is \
    "$(api GET /v1/containers/fresh/profile | jq -c .spans)" \
    "$(python3 "$here/format.py" profile profiled.clip | jq -c .)"
check "the container goes on" whole "$(root_of fresh)"
check "another index of the image may be named" bash -c "cp programs.clip other.clip &&
    '$clip' profile --json fresh other.clip | jq -e '.spans > 0' && cmp other.clip profiled.clip"
"$clip" index -q --span-size 64KiB "$(jq -r .reference <<<"$("$clip" inspect --json programs.clip)")" \
    small.clip
check "but not one with other spans" fails 1 "spans of another size" \
    "$clip" profile fresh small.clip
check "nor what is no index" fails 1 "not a clip index" "$clip" profile fresh /etc/passwd
check "an unknown container has none" fails 1 "no such container" "$clip" profile nobody
mkdir ahead
check "clipd mount takes the index" "$clipd" mount --cache-dir ahead.cache profiled.clip ahead
fetched_ahead() {
    [ "$(du -sk ahead.cache | cut -f1)" -gt 500 ]
}
check "what the profile names comes without being read" until_true fetched_ahead
check "clipd umount ends it" "$clipd" umount ahead
check "--clear takes it out" says "no profile any more" "$clip" profile --clear profiled.clip
check "and leaves the index as it was" cmp profiled.clip programs.clip
"$clip" umount fresh

# ---- kinds
check "--ro cannot be written to" bash -c "'$clip' mount --ro --cid ro programs.clip &&
    ! touch '$(root_of ro)/x' && [ -d '$(root_of ro)/proc' ]"
mkdir up at
check "--upper keeps what is written" bash -c "'$clip' mount --cid up --upper up programs.clip &&
    echo kept >'$(root_of up)/kept' && '$clip' umount up && grep kept up/kept"
check "and has it again" bash -c "'$clip' mount --cid up2 --upper up programs.clip &&
    grep kept '$(root_of up2)/kept'"
check "DIR shows the root" is "$("$clip" mount --cid at programs.clip at)" "$work/at"
check "as it is" whole at
check "busy, it stays as it is" bash -c "exec 8<'$(root_of at)/var/noise'; ! '$clip' umount at &&
    [ -e at/etc/passwd ]"
check "umount DIR ends it" "$clip" umount at
check "and leaves DIR empty" is "$(ls -A at)" ""
check "DIR that is not there is refused" \
    fails 1 "cannot mount" "$clip" mount --cid nodir programs.clip "$work/nowhere"
check "and leaves nothing" gone nodir
"$clip" umount --all

# ---- images by name
check "an image is indexed and mounted" "$clip" mount --quiet --cid i "oci:programs:latest"
check "its tree is right" whole "$(root_of i)"
check "its index is in the store" bash -c "ls root/indexes/sha256-*.clip"
check "nothing is left of the run" bash -c "! ls -A root/indexes | grep run-"
"$clip" umount i
cp -r programs again
for n in {1..8}; do
    "$clip" mount --quiet --cid "many$n" "oci:again:latest" >"many$n.out" 2>&1 &
    many[n]=$!
done
failed=0
for n in {1..8}; do wait "${many[n]}" || failed=$((failed + 1)); done
check "eight ask for the same image at once" is $failed 0
check "it was indexed once" is "$(api GET /metrics | awk '/^clip_index_jobs_done_total/ { print $2 }')" 2
check "and mounted once" is "$(n_images)" 1
mv again moved
check "an index of the store needs no blobs to mount" "$clip" mount --cid later "oci:again:latest"
check "--pull looks again" bash -c "! '$clip' mount --pull --cid pulled 'oci:again:latest'"
"$clip" umount --all
for index in root/indexes/sha256-*.clip; do echo broken >"$index"; done
check "a broken index of the store is made again" \
    "$clip" mount --quiet --cid healed "oci:programs:latest"
"$clip" umount --all

# ---- those who go away
check "a client that goes away takes its container with it" bash -c "
    (exec '$clip' mount --quiet --cid gone 'oci:programs:latest' --pull) & kill \$!; wait; true"
check "sooner or later" until_true gone gone
sleep 300 &
owner=$!
check "a container with an owner" answers 200 PUT /v1/containers/owned \
    -d "{\"index\":\"$work/programs.clip\",\"owner\":$owner}"
kill $owner
wait $owner 2>/dev/null
check "goes when the owner dies" until_true gone owned
check "detached, nobody waits" answers 202 PUT '/v1/containers/det?detach=1' \
    -d "{\"index\":\"$work/programs.clip\"}"
check "and it is ready all the same" until_true bash -c \
    "curl -s --unix-socket '$socket' http://c/v1/containers/det | grep -q '\"ready\"'"

# ---- the mount of an image is taken away
lower=$(api GET /v1/containers/det | jq -r .lower)
connection=$(awk -v d="$lower" '$5 == d { sub(/.*:/, "", $3); print $3 }' /proc/self/mountinfo)
[ -d "/sys/fs/fuse/connections/$connection" ] || mount -t fusectl none /sys/fs/fuse/connections
echo 1 >"/sys/fs/fuse/connections/$connection/abort"
is_dead() {
    is "$(state_of det)" dead
}
check "a container whose image's mount was cut off is dead" until_true is_dead
check "it says why" says "was taken away" api GET /v1/containers/det
check "it comes back when asked for" "$clip" mount --cid det programs.clip
check "as it was" whole "$(root_of det)"
"$clip" umount --all

# ---- bundles
check "--bundle writes a config.json" "$clip" mount --cid bun --bundle "$work/bun" programs.clip
config() {
    jq -cr "$1" bun/config.json
}
check "with the image's command" says 'echo $GREETING' config '.process.args[2]'
check "with the image's user and groups" is "$(config '.process.user')" \
    '{"uid":1000,"gid":1000,"additionalGids":[2000]}'
check "with the image's environment" says 'GREETING=from the image' config '.process.env'
check "with a home" says 'HOME=/home/tester' config '.process.env'
check "with the image's directory" is "$(config .process.cwd)" /home/tester
check "with the image's stop signal" is \
    "$(config '.annotations["org.opencontainers.image.stopSignal"]')" SIGINT
check "with the root" is "$(config .root.path)" "$(root_of bun)"
check "an unknown user is refused" says "has no user 'nobody-here'" \
    api PUT /v1/containers/nouser -d "{\"index\":\"$work/programs.clip\",\"bundle\":true,
        \"process\":{\"user\":\"nobody-here\"}}"
check "and leaves nothing" gone nouser
"$clip" umount --all

# ---- death and return
"$clip" mount --cid k1 programs.clip >/dev/null
"$clip" mount --cid k2 programs.clip >/dev/null
echo kept >"$(root_of k1)/kept"
stop_daemon -KILL 2>/dev/null
check "after kill -9 mounts are there, but dead" bash -c "! cat '$(root_of k2)/var/noise'"
mkdir -p run/half/{rootfs,upper,work/work}
start_daemon || exit 1
check "what a clipd had only begun is cleared" test ! -e run/half
check "the next clipd clears them" is "$(n_mounts)" 0
check "knows the containers" is "$(state_of k1) $(state_of k2)" "lost lost"
check "mounts one again when asked" "$clip" mount --cid k1 programs.clip
check "with what was written" is "$(cat "$(root_of k1)/kept")" kept
check "and the whole image" whole "$(root_of k1)"
stop_daemon
check "SIGTERM ends it well" is $? 0
check "unmounts everything" is "$(n_mounts)" 0
check "--idle-polling is auto, on or off" fails 2 "auto, on or off" "$clipd" serve --idle-polling no
check "and that is said before anything is made" bash -c "
    '$clipd' serve --idle-polling no --root '$work/none' 2>/dev/null; [ ! -e '$work/none' ]"
check "in the environment, too" fails 2 "auto, on or off" env CLIP_IDLE_POLLING=no \
    "$clip" index programs.clip none.clip
start_daemon --idle-polling on || exit 1
if [ -c /dev/cpu_dma_latency ] && (: >/dev/cpu_dma_latency) 2>/dev/null; then
    check "idle CPUs polled with --idle-polling on" until_true has_polled
    # nobody opens a device on a mount without devices
    check "who cannot have it is told" says "idle CPUs halt" unshare --mount bash -c '
        device=/dev/cpu_dma_latency
        mount --bind $device $device && mount -o remount,bind,nodev $device &&
            "$0" index --idle-polling on nothing: none.clip' "$clip"
else
    skip "idle CPUs polled with --idle-polling on" "/dev/cpu_dma_latency cannot be opened"
fi
stop_daemon
start_daemon --restore --idle-polling off || exit 1
are_ready() {
    is "$(state_of k1) $(state_of k2)" "ready ready"
}
check "--restore mounts again" until_true are_ready
check "--idle-polling off never asks for it" is "$(latency_limits_of "$daemon")" 0
check "with what was written" is "$(cat "$(root_of k1)/kept")" kept
exec 9<"$(root_of k2)/var/noise"
stop_daemon
check "SIGTERM with a file open ends it well" is $? 0
check "and unmounts everything" is "$(n_mounts)" 0
exec 9<&-
start_daemon || exit 1
"$clip" umount --all
check "lost containers are forgotten for good" is "$(ls -A root/state)" ""
"$clip" mount --cid last programs.clip >/dev/null
head -c 1000 /dev/zero >"$(root_of last)/x"
kill -TERM $daemon
kill -TERM $daemon 2>/dev/null
wait $daemon
check "two signals end it as well" is $? 0
daemon=
check "without a mount left" is "$(n_mounts)" 0
finish
