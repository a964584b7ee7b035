#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# clipd's control socket as curl and worse clients see it: control.sh BUILD_DIR. Needs no root.
. "$(dirname "$0")/lib.sh"
begin
. "$here/clipd.sh"

have curl && have jq || { skip control.sh "needs curl and jq"; exit 0; }

raw() {
    python3 "$here/control.py" "$@"
}

put() {
    local status=$1 id=$2 body=$3
    answers "$status" PUT "/v1/containers/$id" -d "$body"
}

mode_is() {
    [ "$(stat -c %a "$1")" = "$2" ]
}

metric() {
    api GET /metrics | grep "^$1 "
}

# Every metric has a help text and a type, and no line is anything else.
metrics_are_clean() {
    api GET /metrics >metrics
    awk '/^# HELP clip_[a-z_]+ ./ { help[$3]; next }
         /^# TYPE clip_[a-z_]+ (counter|gauge|histogram)$/ { type[$3] = $4; next }
         { name = $1; sub(/[{].*/, "", name); base = name; sub(/_(bucket|sum|count)$/, "", base)
           if (!(name in type) && type[base] != "histogram") { print "bad: " $0; bad = 1 } }
         END { for (t in type) if (!(t in help)) { print "no help: " t; bad = 1 } exit bad }' metrics
}

start_daemon --listen-metrics 127.0.0.1:0 || { echo "FAIL clipd starts"; exit 1; }
check "only its owner may use the socket" mode_is "$socket" 600
check "healthz says ok" says ok api GET /healthz
check "info names its directories" says "\"run\":\"$work/run\"" api GET /v1/info
check "there are no containers at first" says '{"containers":[]}' api GET /v1/containers
check "there are no images at first" says '{"images":[]}' api GET /v1/images
check "HEAD has no body" says "Content-Length: 3" api GET /healthz --head
check "metrics are Prometheus's text" metrics_are_clean
check "metrics count calls" metric clip_control_calls_total

check "an unknown path is 404" answers 404 GET /v2/containers
check "an unknown container is 404" answers 404 GET /v1/containers/nobody
check "taking an unknown container away is 404" answers 404 DELETE /v1/containers/nobody
check "a wrong method is 405" answers 405 POST /v1/containers
check "a wrong method of a container is 405" answers 405 PATCH /v1/containers/a
check "nor can a profile be written" answers 405 PUT /v1/containers/a/profile
check "an unknown container has no profile" answers 404 GET /v1/containers/a/profile
check "what is below it is no ID" answers 400 GET /v1/containers/a/other
for id in .. ../x a/b .hidden -x %2e%2e a%2fb clipd.sock "" "$(printf 'a%.0s' {1..129})"; do
    check "the ID '${id:0:20}' is refused" answers 400 PUT "/v1/containers/$id" -d '{"index":"/x"}'
done

check "a body that is no JSON is refused" put 400 a 'index=x'
check "an empty body is refused" answers 400 PUT /v1/containers/a
check "a body that is no object is refused" put 400 a '[]'
check "a member that does not exist is refused" put 400 a '{"index":"/x","ro":true}'
check "a member of the wrong type is refused" put 400 a '{"index":7}'
check "a member given twice is refused" put 400 a '{"index":"/x","index":"/y"}'
check "neither image nor index is refused" put 400 a '{}'
check "image and index together are refused" put 400 a '{"index":"/x","image":"y"}'
check "a relative path is refused" put 400 a '{"index":"x.clip"}'
check "a text with a NUL is refused" put 400 a '{"index":"/x\u0000y"}'
check "read-only with an upper is refused" put 400 a '{"index":"/x","read_only":true,"upper":"/y"}'
check "an owner that is not there is refused" put 400 a '{"index":"/x","owner":2147483646}'
check "a process without a bundle is refused" put 400 a '{"index":"/x","process":{"args":["a"]}}'
check "a process that is none is refused" \
    put 400 a '{"index":"/x","bundle":true,"process":{"args":"ls"}}'
check "an index that is not there is 404" put 404 a '{"index":"/nowhere/x.clip"}'
check "a file that is no index is refused" put 422 a "{\"index\":\"$work/log\"}"
check "an image that is not there is refused" \
    says '"error":' api PUT /v1/containers/a -d "{\"image\":\"oci:$work/nothing\"}"
check "events end with the failure" \
    says '"code":"ENOENT"' api PUT '/v1/containers/a?events=1' -d '{"index":"/nowhere"}'
check "what failed leaves no container" says '{"containers":[]}' api GET /v1/containers
check "what failed leaves no directory" test ! -e "$work/run/a"

check "what is no HTTP is refused" raw malformed "$socket"
check "what is too long is refused" raw huge "$socket"
check "requests may come all at once" raw pipelined "$socket"
check "requests may come byte by byte" raw dripped "$socket"
raw slow "$socket" >slow.out 2>&1 &
slow=$!
check "clients that idle make room" raw idle "$socket"
wait $slow
check "a slow client costs others nothing and is ended" [ $? -eq 0 ]
check "a crowd is told to come again" raw crowd "$socket"
check "one that never reads is not served for ever" raw deaf "$socket"

port=$(ss -Hltnp 2>/dev/null | awk -v p="pid=$daemon," 'index($0, p) { sub(/.*:/, "", $4); print $4 }')
if [ -n "$port" ]; then
    check "metrics come over TCP" curl -sf "http://127.0.0.1:$port/metrics"
    check "nothing else comes over TCP" \
        says ENOENT curl -s "http://127.0.0.1:$port/v1/containers"
else
    skip "metrics over TCP" "ss does not say the port"
fi

check "a second clipd is refused" fails 1 "another clipd works in" "$clipd" serve
check "SIGTERM ends it with 0" stop_daemon
check "and takes the socket away" test ! -e "$socket"
check "clip ps says that there is none" fails 1 "no clipd listens" "$clip" ps
check "an address that is none is refused" \
    fails 1 "is ADDR:PORT" "$clipd" serve --listen-metrics example.com
check "a mode that is none is refused" fails 1 "octal" "$clipd" serve --socket-mode rw

# ---- what an earlier clipd left
mkdir -p root/state
echo '{"version":1,"id":"old","created":1700000000,"spec":{"index":"/gone.clip"}}' >root/state/old.json
echo '{"version":1,"id":"bad"' >root/state/bad.json
echo '{"version":1,"id":"up","created":1,"spec":{"index":"relative"}}' >root/state/up.json
start_daemon --socket-mode 0660 || echo "FAIL clipd starts again"
check "the socket has the mode that was asked for" mode_is "$socket" 660
check "a container of an earlier clipd is lost" says lost state_of old
check "a broken state is set aside" test -e root/state/bad.json.broken -a ! -e root/state/bad.json
check "so is one that asks for nonsense" test -e root/state/up.json.broken
check "clip ps lists it" says lost "$clip" ps
check "another image under its ID is refused" put 409 old '{"index":"/other.clip"}'
check "the same is tried again" put 404 old '{"index":"/gone.clip"}'
check "and stays lost when that fails" says lost state_of old
check "clip umount forgets it" "$clip" umount old
check "for good" test ! -e root/state/old.json
check "clip umount --all has nothing to do" "$clip" umount --all
check "clip umount of an unknown ID says so" fails 1 "no such container" "$clip" umount nobody
check "clip umount of a path in an ID says so" fails 1 "is no ID" "$clip" umount 'a?b'
check "clip mount of a bad ID says so" fails 1 "is no ID" "$clip" mount --cid a/b x.clip
check "clip mount of nothing says what is wrong" fails 1 "nothing" "$clip" mount "oci:$work/nothing"
stop_daemon

check "systemd's socket and readiness work" raw activated "$work/run/other.sock" "$clipd" serve
check "it ends when nobody needs it" timeout 60 "$clipd" serve --exit-idle 1
check "clip run without a runtime says so" \
    fails 1 "no no-such-runtime" "$clip" run --runtime no-such-runtime x.clip
finish
