# SPDX-License-Identifier: Apache-2.0
# For the scripts beside it: a scratch directory, and lines that scripts/test counts.
#
#     . "$(dirname "$0")/lib.sh"          $1 of the script is the build directory
#     begin
#     check "what is so" command...       ok if the command succeeds
#     finish
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(cd "${1:?usage: $(basename "$0") BUILD_DIR}" && pwd)
clip=$build/cli/clip
failures=0
at_end=() # functions to be called when the script ends, however it ends
export LC_ALL=C

# Where python3 is a script that looks for the program (pyenv's), that is looked for once.
if grep -qs '^#!' "$(type -P python3)"; then
    PATH=$(python3 -c 'import os, sys; print(os.path.dirname(sys.executable))'):$PATH
fi

begin() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/clip-$(basename "$0" .sh).XXXXXX")
    trap clean_up EXIT
    trap 'exit 1' INT TERM
    cd "$work" || exit 1
    umask 022
}

# The mountpoints below $work.
below_work() {
    awk -v d="$work/" 'index($5, d) == 1 { print $5 }' /proc/self/mountinfo
}

clean_up() {
    local call dir
    for call in "${at_end[@]}"; do "$call"; done
    below_work | sort -r | while read -r dir; do umount -l "$dir"; done
    rm -rf --one-file-system "$work"
}

# check NAME COMMAND...: the output is shown only if the command fails.
check() {
    local name=$1
    shift
    if "$@" >"$work/.out" 2>&1; then
        echo "ok $name"
    else
        echo "FAIL $name"
        sed 's/^/    /' "$work/.out" | tail -n 30
        failures=$((failures + 1))
    fi
}

skip() {
    echo "skip $1: $2"
}

have() {
    command -v "$1" >/dev/null
}

as_nobody() {
    setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}

# Not where the build lies below a directory that is root's alone, as /root is on some machines.
nobody_can_run() {
    [ "$(id -u)" = 0 ] && have setpriv && as_nobody test -x "$1"
}

finish() {
    [ $failures -eq 0 ]
    exit
}

is() {
    [ "$1" = "$2" ] || { echo "found '$1', expected '$2'"; return 1; }
}

# until_true COMMAND...: polls, for what another process does in its own time.
until_true() {
    local end=$((SECONDS + 60))
    while [ $SECONDS -lt $end ]; do
        "$@" >/dev/null 2>&1 && return 0
        read -rt 0.02 <> <(:)
    done
    return 1
}

# A port of this machine's that nobody listens at; not one of those that the kernel gives to whoever
# asks for any, as other tests do meanwhile.
free_port() {
    python3 - <<'END'
import random, socket
while True:
    port = random.SystemRandom().randrange(10000, 32000)
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            continue
    print(port)
    break
END
}

# fails CODE TEXT COMMAND...: ends with that code, and one sentence on stderr that has the text.
fails() {
    local want=$1 text=$2 code
    shift 2
    "$@" >.stdout 2>.stderr
    code=$?
    cat .stderr
    [ $code -eq "$want" ] || { echo "exit code $code, not $want"; return 1; }
    [ "$(wc -l <.stderr)" -eq 1 ] || { echo "not one line on stderr"; return 1; }
    grep -qF -- "$text" .stderr || { echo "stderr lacks: $text"; return 1; }
}

layout() {
    python3 "$here/layout.py" "$@"
}

same_tree() {
    python3 "$here/same_tree.py" "$clip" "$@"
}

index() {
    "$clip" index --quiet "$@"
}
