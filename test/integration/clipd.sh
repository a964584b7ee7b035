# SPDX-License-Identifier: Apache-2.0
# For scripts that need a clipd: . "$here/clipd.sh" after lib.sh and begin. Each clipd has its
# directories in $work, so that nothing of this machine's own is touched.
clipd=$build/cli/clipd
socket=$work/run/clipd.sock
export CLIP_RUN_DIR=$work/run CLIP_BASE_DIR=$work/root CLIP_CACHE_DIR=$work/cache
daemon=

start_daemon() {
    "$clipd" serve --log-file "$work/log" "$@" 2>"$work/daemon.err" &
    daemon=$!
    until_true curl -sf --unix-socket "$socket" http://clipd/healthz || {
        cat "$work/daemon.err"
        return 1
    }
}

# Its exit code.
stop_daemon() {
    local code
    [ -n "$daemon" ] || return 0
    kill "${1:--TERM}" "$daemon"
    wait "$daemon"
    code=$?
    daemon=
    return $code
}

kill_daemon() {
    [ -z "$daemon" ] || kill -KILL "$daemon" 2>/dev/null
}
at_end+=(kill_daemon)

# api METHOD PATH [CURL OPTION...]: the answer's body.
api() {
    local method=$1 path=$2
    shift 2
    curl -s --path-as-is --unix-socket "$socket" -X "$method" "http://clipd$path" "$@"
}

# answers STATUS METHOD PATH [CURL OPTION...]
answers() {
    local want=$1 got
    shift
    got=$(api "$@" -o "$work/answer" -w '%{http_code}')
    cat "$work/answer"
    [ "$got" = "$want" ] || { echo "status $got, not $want"; return 1; }
}

# says TEXT COMMAND...: the output has TEXT.
says() {
    local text=$1 output
    shift
    output=$("$@" 2>&1)
    echo "$output"
    grep -qF -- "$text" <<<"$output"
}

state_of() {
    api GET "/v1/containers/$1" | jq -r .state
}
