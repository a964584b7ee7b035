#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The command line as scripts see it: help, exit codes, JSON, what a terminal may be shown.
. "$(dirname "$0")/lib.sh"
begin

esc=$'\033]0;owned\007'
python3 - <<'EOF'
import io, tarfile
with tarfile.open("t.tar", "w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
    def add(name, kind=tarfile.REGTYPE, data=b"", **more):
        info = tarfile.TarInfo(name)
        info.type, info.size, info.mtime = kind, len(data), 1700000000
        for key, value in more.items():
            setattr(info, key, value)
        tar.addfile(info, io.BytesIO(data))
    add("etc", tarfile.DIRTYPE, mode=0o755)
    add("etc/passwd", data=b"root:x:0:0\n", mode=0o4755, uid=7, gid=8)
    add("etc/hard", tarfile.LNKTYPE, linkname="etc/passwd")
    add("etc/link", tarfile.SYMTYPE, linkname="passwd")
    add("null", tarfile.CHRTYPE, devmajor=1, devminor=3)
    add("tab\there")
    add("two\nlines")
    add("\udcff\udcfe", data=b"x")
    add("\033]0;owned\007", data=b"y")
    add("caf\u00e9")
    add("odd", data=b"z", pax_headers={"SCHILY.xattr.user.a": "v\u0001"})
EOF
layout image gzip:t.tar
"$clip" index --quiet oci:image:latest t.clip || exit 1

# ---- help and usage

helps() {
    local program=$1 verb
    "$program" --help >help || return 1
    grep -q '^usage: ' help || return 1
    for verb in $(sed -n 's/^  \([a-z]*\)  *[A-Z[].*/\1/p' help); do
        "$program" "$verb" --help >one 2>err || { echo "$verb --help fails"; return 1; }
        [ ! -s err ] || { echo "$verb --help writes to stderr"; return 1; }
        grep -q "^usage: $(basename "$program") $verb" one || { cat one; return 1; }
        "$program" help "$verb" | cmp -s one || { echo "help $verb is another text"; return 1; }
    done
    [ "$(awk 'length > 100' help one | wc -l)" = 0 ]
}
check "clip --help and each verb's" helps "$clip"
! [ -x "$build/cli/clipd" ] || check "clipd --help and each verb's" helps "$build/cli/clipd"

usage_errors() {
    fails 2 "there is no verb" "$clip" nonsense || return 1
    local verb
    for verb in index inspect ls stat verify; do
        fails 2 "$verb: it needs" "$clip" $verb && fails 2 "no option" "$clip" $verb --nonsense &&
            fails 2 "one word too many" "$clip" $verb a b c || return 1
    done
    "$clip" >/dev/null 2>&1
    [ $? = 2 ] && fails 2 "no SIZE" "$clip" index --span-size big a b &&
        fails 2 "needs a value" "$clip" index a b --jobs && fails 2 "text or json" \
        "$clip" index --log-format xml a b
}
check "usage errors are 2" usage_errors

suggests() {
    fails 2 "did you mean 'index'?" "$clip" indx && fails 2 "did you mean 'umount'?" "$clip" unmont &&
        fails 2 "did you mean 'inspect'?" "$clip" help isnpect && fails 2 "--help" "$clip" help xyz &&
        fails 2 "--help" "$clip" "$(printf 'index%.0s' {1..99})" && fails 2 "--help" "$clip" ""
}
check "a verb that is misspelt is guessed" suggests

tells_version() {
    "$clip" --version | grep -x 'clip [0-9]*\.[0-9]*\.[0-9]*' &&
        [ "$("$clip" version)" = "$("$clip" --version)" ]
}
check "clip --version" tells_version

failures_are_1() {
    fails 1 "nothing" "$clip" ls t.clip /etc/nothing && fails 1 "not a clip index" \
        "$clip" stat t.tar / && fails 1 "none.clip" "$clip" inspect none.clip &&
        fails 1 "Not a directory" "$clip" ls t.clip /etc/passwd/x
}
check "failures are 1" failures_are_1

# ---- facts

is_json() {
    "$clip" inspect --json t.clip | jq -e '.files == 7 and .hardlinks == 1 and
        (.layers | length) == 1 and .config.os == "linux"' >/dev/null || return 1
    "$clip" ls --json t.clip | jq -e 'length == 8' >/dev/null || return 1
    "$clip" ls -lR --json t.clip | jq -e 'length == 11 and all(.[]; has("type"))' >/dev/null ||
        return 1
    "$clip" stat --json t.clip /odd | jq -e '.xattrs[0].name == "user.a" and .size == 1' \
        >/dev/null || return 1
    "$clip" verify --json t.clip | jq -e '.ok and .entries == 11' >/dev/null || return 1
    "$clip" verify --deep --json --progress none t.clip | jq -e '.ok and .deep' >/dev/null ||
        return 1
    "$clip" verify --json t.tar >bad.json 2>/dev/null
    jq -e '.ok == false and (.error | length) > 0' bad.json >/dev/null || return 1
    "$clip" index --json --progress none oci:image:latest t2.clip | jq -e '.files == 7 and
        .output == "t2.clip"' >/dev/null
}
check "JSON" is_json

bytes_survive_json() {
    "$clip" ls --json t.clip | jq -r '.[] | .path_hex // empty' | grep -x 2ffffe &&
        "$clip" stat --json t.clip $'/\xff\xfe' | jq -e '.path_hex == "2ffffe"' >/dev/null &&
        "$clip" ls --json t.clip | jq -e --arg e "/$esc" 'any(.[]; .path == $e)' >/dev/null
}
check "JSON has every byte of a name" bytes_survive_json

lists_as_expected() {
    "$clip" ls -l t.clip /etc >out
    diff out - <<'EOF'
-rwsr-xr-x 2 7 8 11 2023-11-14T22:13:20Z hard
lrwxrwxrwx 1 0 0  6 2023-11-14T22:13:20Z link -> passwd
-rwsr-xr-x 2 7 8 11 2023-11-14T22:13:20Z passwd
EOF
    "$clip" ls -l t.clip /null | grep '^crw-r--r-- 1 0 0 1, 3 ' &&
        [ "$("$clip" ls t.clip etc/link)" = "etc/link" ] &&
        "$clip" ls -R t.clip | grep -x '/etc:' && "$clip" stat t.clip /etc/passwd | grep \
        'mode     -rwsr-xr-x (4755)' && "$clip" stat -L t.clip etc/link | grep -x 'size     11'
}
check "ls and stat" lists_as_expected

# ---- terminals and pipes

raw_into_pipes() {
    "$clip" ls t.clip | grep -xF "$esc" && "$clip" ls t.clip | grep -ax $'\xff\xfe'
}
check "names go into pipes as they are" raw_into_pipes

quoted_on_terminals() {
    local verb
    for verb in "ls $PWD/t.clip" "ls -lR $PWD/t.clip" "ls $PWD/t.clip '/$esc'" \
        "stat $PWD/t.clip '/$esc'" "ls $PWD/t.clip '/no$esc'"; do
        script -qec "$clip $verb" /dev/null </dev/null >tty 2>&1
        if grep -q $'\033\|\007' tty; then
            echo "$verb shows control bytes"
            cat -v tty
            return 1
        fi
    done
    script -qec "$clip ls $PWD/t.clip" /dev/null </dev/null | tr -d '\r' >tty
    grep -qxF '\x1b]0;owned\a' tty && grep -qxF 'two\nlines' tty && grep -qxF '\xff\xfe' tty &&
        grep -qx "caf$(printf '\303\251')" tty
}
if have script; then
    check "names are quoted on terminals" quoted_on_terminals
else
    skip "names are quoted on terminals" "there is no script(1)"
fi

broken_pipes() {
    for verb in "ls -lR --json" "ls -lR" inspect; do
        "$clip" $verb t.clip 2>err | true
        [ ! -s err ] || { cat err; return 1; }
    done
}
check "a pipe that breaks is no news" broken_pipes

full_disk() {
    [ -w /dev/full ] || return 0
    "$clip" inspect t.clip >/dev/full 2>err
    [ $? = 1 ] && grep -q 'cannot write' err
}
check "a full disk is told" full_disk

quiet_and_verbose() {
    [ -z "$("$clip" index --quiet oci:image:latest q.clip 2>&1)" ] &&
        "$clip" index --progress none oci:image:latest q.clip 2>err |
        grep -qx 'Successfully indexed image with 7 files' && [ ! -s err ] &&
        CLIP_VERBOSE=1 "$clip" index --progress none oci:image:latest q.clip 2>&1 >/dev/null |
        grep -q layer
}
check "--quiet and CLIP_VERBOSE" quiet_and_verbose

overwrites_only_with_success() {
    cp t.clip keep.clip
    fails 1 none "$clip" index --quiet oci:none:latest keep.clip && cmp t.clip keep.clip &&
        [ -z "$(ls | grep tmp)" ]
}
check "a failed index leaves the old one" overwrites_only_with_success

finish
