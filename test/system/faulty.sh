# SPDX-License-Identifier: Apache-2.0
# A registry that fails (faulty_registry.py) for the scripts beside it: . faulty.sh after clipd.sh.
registry= port=

# start_registry SEED RATE NAME=LAYOUT...
start_registry() {
    local seed=$1 rate=$2
    shift 2
    python3 "$system/faulty_registry.py" --seed "$seed" --faults "$rate" "$work/port" "$@" &
    registry=$!
    until_true test -s "$work/port" && port=$(cat "$work/port")
}

stop_registry() {
    [ -z "$registry" ] || kill "$registry"
    wait "$registry" 2>/dev/null
    registry=
}

at_end+=(stop_registry)

# dial RATE: how many of the requests for blobs fail from now on; 1: all.
dial() {
    curl -sf "http://127.0.0.1:$port/dial/$1"
}

# How many requests for blobs there were.
n_asked() {
    curl -sf "http://127.0.0.1:$port/count"
}
