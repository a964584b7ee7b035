#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Debian's docker-registry on loopback ports: plain, with Basic auth, with TLS and a CA of its own.
# Images are made with umoci and pushed by skopeo; the index from a registry is, byte for byte, the
# index of the layout.
. "$(dirname "$0")/lib.sh"
begin

for tool in docker-registry skopeo umoci htpasswd openssl curl jq; do
    have $tool || { skip "images from registries" "there is no $tool"; finish; }
done

export HOME=$work/home XDG_RUNTIME_DIR=$work/run REGISTRY_PASSWORD=sesame
unset DOCKER_CONFIG REGISTRY_AUTH_FILE http_proxy https_proxy HTTP_PROXY HTTPS_PROXY
mkdir -p "$HOME" "$XDG_RUNTIME_DIR" out
pids=()
stop_servers() {
    kill "${pids[@]}" 2>/dev/null
    wait "${pids[@]}" 2>/dev/null
}
at_end+=(stop_servers)

# ---- servers

answers() {
    until_true curl -sk -o /dev/null "$1" || { echo "nobody answers at $1"; return 1; }
}

# serve NAME PORT [LINES OF YAML ...]: a registry of its own storage
serve() {
    local name=$1 port=$2
    {
        printf 'version: 0.1\nlog: {level: error}\n'
        printf 'storage: {filesystem: {rootdirectory: %s}}\n' "$work/$name.store"
        printf 'http:\n  addr: 127.0.0.1:%s\n' "$port"
        printf '%s\n' "${@:3}"
    } >"$name.yml"
    docker-registry serve "$name.yml" >"$name.log" 2>&1 &
    pids+=($!)
}

make_certificates() {
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 \
        -subj "/CN=clip test CA" -addext basicConstraints=critical,CA:TRUE
    openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost
    openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
        -out server.pem -extfile <(echo subjectAltName=DNS:localhost,IP:127.0.0.1)
}

make_image() {
    umoci init --layout img
    umoci new --image img:1
    mkdir one two
    head -c 1500000 /dev/urandom >one/random
    echo hello >one/hello
    seq 100000 >two/numbers
    ln -s hello two/link
    umoci insert --rootless --image img:1 one /one
    umoci insert --rootless --image img:1 two /two
    umoci insert --rootless --image img:1 one/hello /hello
}

make_certificates >/dev/null 2>&1
make_image >/dev/null 2>&1
htpasswd -Bbn me sesame >passwords 2>/dev/null
plain=127.0.0.1:$(free_port)
basic=127.0.0.1:$(free_port)
tls=localhost:$(free_port)
serve plain "${plain#*:}"
serve basic "${basic#*:}" "auth: {htpasswd: {realm: test, path: $work/passwords}}"
serve tls "${tls#*:}" "  tls: {certificate: $work/server.pem, key: $work/server.key}"

push() {
    mkdir -p ca.d && cp ca.pem ca.d/ca.crt
    answers "http://$plain/v2/" && answers "http://$basic/v2/" && answers "https://$tls/v2/" &&
        skopeo copy -q --dest-tls-verify=false oci:img:1 "docker://$plain/team/app:1" &&
        skopeo copy -q --dest-tls-verify=false --dest-creds me:sesame oci:img:1 \
            "docker://$basic/team/app:1" &&
        skopeo copy -q --dest-cert-dir ca.d oci:img:1 "docker://$tls/team/app:1"
}
check "images can be pushed" push

reference=example.org/app:1
index --store-ref $reference oci:img:1 layout.clip

# same OPTION... IMAGE: its index is that of the layout
same() {
    rm -f out/same.clip
    index --store-ref $reference "$@" out/same.clip && cmp layout.clip out/same.clip
}

# ---- plain

check "an image from a registry gives the index that its layout gives" same "$plain/team/app:1"

by_digest() {
    same "$plain/team/app@$(jq -r '.manifests[0].digest' img/index.json)"
}
check "an image is found by its digest" by_digest

reads_from_registry() {
    index "$plain/team/app:1" out/app.clip &&
        "$clip" cat out/app.clip /hello | cmp - one/hello &&
        "$clip" cat out/app.clip /one/random | cmp - one/random &&
        "$clip" inspect --json out/app.clip | jq -re .reference | grep "^$plain/team/app:1@sha256:"
}
check "files are read from the registry that the index names" reads_from_registry

check "a tag that is not there is told" \
    fails 1 "no such image" "$clip" index --quiet "$plain/team/app:2" out/x.clip
check "a registry that is not there is told" \
    fails 1 "refuses connections" "$clip" index --quiet "127.0.0.1:$(free_port)/a:1" out/x.clip

soon_told() {
    local began=$EPOCHREALTIME host
    mkdir -p "gone.d/gone.test"
    printf 'server = "https://127.0.0.1:%s"\n' "$(free_port)" >gone.d/gone.test/hosts.toml
    fails 1 "refuses connections" "$clip" index --quiet --certs-dir gone.d gone.test/a out/x.clip &&
        fails 1 "no host named" "$clip" index --quiet nobody.invalid/a out/x.clip
    awk -v s="$began" -v e="$EPOCHREALTIME" 'BEGIN { print e - s, "s"; exit e - s > 8 }'
}
check "a host that is not there is told while one waits" soon_told

https_to_http() {
    mkdir -p "swapped.d/tls.test" "swapped.d/plain.test"
    printf 'server = "http://%s"\n' "$tls" >swapped.d/tls.test/hosts.toml
    printf 'server = "https://%s"\n' "$plain" >swapped.d/plain.test/hosts.toml
    fails 1 "does it want https" "$clip" index --quiet --certs-dir swapped.d tls.test/a out/x.clip &&
        fails 1 "does not speak TLS" \
            "$clip" index --quiet --certs-dir swapped.d plain.test/a out/x.clip
}
check "http where https is spoken is told, and the other way" https_to_http
check "a reference with a scheme is told to go without" \
    fails 1 "without http" "$clip" index --quiet "https://$tls/team/app:1" out/x.clip
check "a platform that is not there is told" \
    fails 1 "not for linux/s390x" \
    "$clip" index --quiet --platform linux/s390x "$plain/team/app:1" out/x.clip

# ---- Basic

check "without credentials it says how to give them" \
    fails 1 "docker login" "$clip" index --quiet "$basic/team/app:1" out/x.clip
check "credentials can be given" same --creds me:sesame "$basic/team/app:1"
check "wrong credentials are refused" \
    fails 1 "check them" "$clip" index --quiet --creds me:wrong "$basic/team/app:1" out/x.clip

from_login() {
    skopeo login --tls-verify=false --authfile login.json -u me -p sesame "$basic" >/dev/null &&
        same --authfile login.json "$basic/team/app:1" &&
        mkdir -p "$HOME/.docker" && cp login.json "$HOME/.docker/config.json" &&
        same "$basic/team/app:1" && rm "$HOME/.docker/config.json"
}
check "credentials are found where a login left them" from_login

from_environment() {
    local host
    host=$(tr -c 'A-Z0-9\n' _ <<<"$basic")
    env "CLIP_REGISTRY_USER_$host=me" "CLIP_REGISTRY_PASS_$host=sesame" "$clip" index --quiet \
        --store-ref $reference "$basic/team/app:1" out/env.clip && cmp layout.clip out/env.clip
}
check "credentials are found in the environment" from_environment

from_helper() {
    mkdir -p bin helper.d
    printf '#!/bin/sh\nread host\necho "{\\"Username\\":\\"me\\",\\"Secret\\":\\"sesame\\"}"\n' \
        >bin/docker-credential-test
    chmod +x bin/docker-credential-test
    echo "{\"credHelpers\":{\"$basic\":\"test\"}}" >helper.d/config.json
    DOCKER_CONFIG=$work/helper.d PATH=$work/bin:$PATH same "$basic/team/app:1"
}
check "credentials are found by a helper" from_helper

keeps_secrets() {
    "$clip" index --verbose --creds me:sesame "$basic/team/app:1" out/v.clip >said 2>&1
    "$clip" index --verbose --log-format json --creds me:wrong-sesame "$basic/team/app:1" \
        out/w.clip >>said 2>&1
    ! grep -aE "sesame|$(printf me:sesame | base64)" said out/v.clip
}
check "no log line and no index holds a secret" keeps_secrets

# ---- TLS

check "a CA that nobody knows is not believed" \
    fails 1 "certificate" "$clip" index --quiet "$tls/team/app:1" out/x.clip
check "a CA can be given" same --ca-file ca.pem "$tls/team/app:1"

from_certs_dir() {
    mkdir -p "certs.d/$tls" && cp ca.pem "certs.d/$tls/ca.crt" &&
        same --certs-dir certs.d "$tls/team/app:1"
}
check "a CA is found in certs.d" from_certs_dir

# ---- mirrors

nobody=127.0.0.1:$(free_port)
check "a mirror is asked before the registry" same --mirror "http://$plain" "$nobody/team/app:1"
check "a mirror that is not there is passed over" same --mirror "http://$nobody" "$plain/team/app:1"
check "a mirror that wants credentials is passed over" \
    same --mirror "http://$basic" --creds me:sesame "$plain/team/app:1"

from_hosts_toml() {
    mkdir -p "hosts.d/$nobody"
    printf '[host."http://%s"]\n[host."http://%s"]\n  capabilities = ["pull", "resolve"]\n' \
        "$nobody" "$plain" >"hosts.d/$nobody/hosts.toml"
    same --certs-dir hosts.d "$nobody/team/app:1"
}
check "mirrors are read from hosts.toml" from_hosts_toml

# ---- progress and Ctrl-C

tells_progress() {
    "$clip" index --progress json "$plain/team/app:1" out/p.clip >/dev/null 2>events || return 1
    jq -es '(map(.phase) | index("layers")) and (last.phase == "write") and
            (map(select(.phase == "layers" and .layer_total > 0 and
                        .layer_done == .layer_total).layer) | unique == [0, 1, 2])' events &&
        "$clip" index --json "$plain/team/app:1" out/p.clip 2>/dev/null | jq -e '.layers == 3'
}
check "programs can follow the progress" tells_progress

# The layer of random bytes takes 12 s at this rate.
leaves_nothing() {
    local port pid code
    port=$(free_port)
    PYTHONPATH=$here/../../bench python3 -m link "$port" "${plain#*:}" 10 1 &
    pids+=($!)
    answers "http://127.0.0.1:$port/v2/" || return 1
    mkdir -p stop
    "$clip" index --progress json "127.0.0.1:$port/team/app:1" stop/x.clip 2>slow &
    pid=$!
    until_true grep '"layer_done":[1-9]' slow
    kill -INT $pid
    wait $pid
    code=$?
    cat slow
    [ $code -eq 1 ] && grep -q interrupted slow && [ -z "$(ls -A stop)" ]
}
check "Ctrl-C stops it and leaves nothing" leaves_nothing

# ---- on a terminal

on_terminal() {
    python3 "$here/terminal.py" "$@"
}

wipes_its_bars() {
    on_terminal "$clip" index "$plain/team/app:1" out/t.clip >seen || return 1
    cat seen
    read -r code drawn wiped < <(tail -n 1 seen)
    [ "$code" = 0 ] && [ "$drawn" -gt 1 ] && [ "$wiped" -gt 1 ] && ! grep -q '\[[#.]' seen &&
        [ "$(grep -c '^layer [1-3] of 3: ' seen)" = 3 ] &&
        diff <(tail -n 5 seen | cut -d: -f1 | head -n 4) \
            <(printf '%s\n' layers checkpoints index time)
}
check "bars are drawn on a terminal, and wiped" wipes_its_bars

stops_on_terminal() {
    local port
    port=$(free_port)
    PYTHONPATH=$here/../../bench python3 -m link "$port" "${plain#*:}" 10 1 &
    pids+=($!)
    answers "http://127.0.0.1:$port/v2/" || return 1
    mkdir -p typed
    on_terminal --stop-at '[#' "$clip" index "127.0.0.1:$port/team/app:1" typed/x.clip >seen
    cat seen
    grep -q '^clip: interrupted; nothing was written' seen && ! grep -q '\[[#.]' seen &&
        [ "$(tail -n 1 seen | cut -d' ' -f1)" = 1 ] && [ -z "$(ls -A typed)" ]
}
check "Ctrl-C on a terminal wipes the bars and leaves nothing" stops_on_terminal

finish
