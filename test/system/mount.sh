#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A mounted image as the kernel and programs see it: mount.sh BUILD_DIR.
# Needs root and /dev/fuse. All it mounts is in a mount namespace of its own.
. "$(dirname "$0")/lib.sh"
begin
clipd=$build/cli/clipd
at=$work/at log=$work/log
mkdir "$at"
host=

kill_host() {
    [ -z "$host" ] || kill "$host" 2>/dev/null
}
at_end+=(kill_host)

mounted() {
    awk -v d="$at" '$5 == d { found = 1 } END { exit !found }' /proc/self/mountinfo
}

unmounted() {
    ! mounted
}

# start [OPTION...] INDEX: mounts at $at in the background, $pid serves it.
start() {
    : >"$log"
    "$clipd" mount --cache-dir "$work/cache" --log-file "$log" "$@" "$at" || return 1
    pid=$(find_server)
}

# Its command line is all that tells: it has left our process group.
find_server() {
    local file
    for file in $(grep -lzxsF -- "$at" /proc/[0-9]*/cmdline); do
        [[ $(readlink "${file%cmdline}exe") != */clipd ]] || cut -d/ -f3 <<<"$file"
    done
}

# A daemon that has ended may wait for its parent to notice.
ended() {
    [ ! -e "/proc/$1/exe" ] || ! readlink "/proc/$1/exe" >/dev/null 2>&1
}

stop() {
    "$clipd" umount "$at" && until_true ended "$pid"
}

# ---------------------------------------------------------------- images

# A tree in which everything occurs that a layer can say, and some programs to run.
make_tree() {
    local root=$1 program library
    mkdir -p "$root"/{bin,etc,usr/share,odd,lib64,tmp,deep/a/b/c/d/e/f}
    chmod 1777 "$root/tmp"
    for program in bash cat ls perl stat sleep; do
        cp -L "$(command -v $program)" "$root/bin/"
        ldd "$root/bin/$program" | grep -o '/[^ ]*' | while read -r library; do
            mkdir -p "$root$(dirname "$library")"
            cp -nL "$library" "$root$library"
        done
    done
    ln -s bash "$root/bin/sh"
    echo 'print 6 * 7' >"$root/bin/answer.pl"
    cp -a /usr/share/perl* "$root/usr/share/" 2>/dev/null
    cp -a /usr/share/common-licenses "$root/usr/share/" 2>/dev/null
    (
        cd "$root/odd" || exit
        echo hello >plain && ln plain hard1 && ln plain ../etc/hard2
        cp /bin/true setuid && chmod 6755 setuid
        : >empty
        mkfifo fifo && mknod null c 1 3 && mknod block b 7 200
        ln -s ../etc link && ln -s /bin/bash absolute && ln -s nowhere dangling
        ln -s "$(printf 'x%.0s' {1..900})" long-target
        mkdir "$(printf 'n%.0s' {1..255})" && echo 1 >"$(printf $'sp ace\ttab\nline\\x"\'*')"
        echo 2 >$'\xff\xfe not utf-8' && echo 3 >'-rf'
        chown 1234:567890 empty && chmod 0 empty
        touch -d '1969-07-20 20:17:40.123456789 UTC' plain
        touch -d '2101-01-01 00:00:00.000000001 UTC' setuid
        setfattr -n user.note -v 'of mine' plain
        setcap cap_net_raw+ep /dev/null 2>/dev/null
        cp /bin/true capable && setcap cap_net_raw+ep capable
        setfacl -m u:1234:rw setuid 2>/dev/null
        head -c 5000000 /dev/urandom >big
    )
    mkdir "$root/many" && (cd "$root/many" && seq -f 'entry-%g' 3000 | xargs touch)
}

# umoci writes holes as zeros; GNU tar does not.
make_sparse_layer() {
    mkdir "$work/sparse" && truncate -s 9M "$work/sparse/sparse" &&
        printf data | dd of="$work/sparse/sparse" bs=1 seek=5000000 conv=notrunc status=none &&
        tar cf "$1" --sparse --format=pax -C "$work/sparse" sparse
}

make_image() {
    umoci init --layout "$work/oci" && umoci new --image "$work/oci:latest" &&
        umoci config --image "$work/oci:latest" --config.cmd /bin/sh &&
        umoci unpack --image "$work/oci:latest" "$work/bundle" &&
        make_tree "$work/bundle/rootfs" &&
        umoci repack --image "$work/oci:latest" "$work/bundle" &&
        make_sparse_layer "$work/sparse.tar" &&
        umoci raw add-layer --image "$work/oci:latest" "$work/sparse.tar" &&
        umoci raw unpack --image "$work/oci:latest" "$work/unpacked"
}

make_image >"$log" 2>&1 || { echo "FAIL the image is made"; tail -n 5 "$log"; exit 1; }
index=$work/image.clip
"$clip" index --quiet "oci:$work/oci" "$index" || exit 1

# ------------------------------------------------------------- the tree

start "$index" || exit 1
check "a tree of every sort of entry is what umoci unpacks" \
    "$system/same_dirs.py" "$work/unpacked" "$at"
check "st_blocks of a sparse file" is "$(($(stat -c %b "$at/sparse") < 64))" 1
check "SEEK_DATA finds what lies in a hole" is \
    "$(python3 -c "import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
print(os.lseek(fd, 4096, os.SEEK_DATA) // 4096 * 4096)" "$at/sparse")" 4997120
check "getfattr -d" is \
    "$(getfattr -d --absolute-names "$at/odd/plain" | grep user)" 'user.note="of mine"'
check "getcap" is "$(getcap "$at/odd/capable" | grep -o 'cap_net_raw=ep')" cap_net_raw=ep
check "getfacl" is "$(getfacl -c --absolute-names "$at/odd/setuid" | grep 1234)" user:1234:rw-
check "stat -f: a file system without room" is "$(stat -f -c '%f %a %l' "$at")" "0 0 255"
check "stat -f: as many inodes as there are" is "$(stat -f -c %c "$at")" \
    "$(find "$at" -printf '%i\n' | sort -u | wc -l)"
check "du" is "$(du -s --apparent-size "$at/odd" | cut -f1)" \
    "$(du -s --apparent-size "$work/unpacked/odd" | cut -f1)"
check "tar c" is "$(tar cf - --sort=name -C "$at" odd bin usr many | sha256sum)" \
    "$(tar cf - --sort=name -C "$work/unpacked" odd bin usr many | sha256sum)"
check "rsync -n sees no difference" is \
    "$(rsync -anHAXi --delete "$work/unpacked/" "$at/" 2>&1)" ""
check "a directory of thousands" is "$(ls -f "$at/many" | grep -c entry)" 3000
check "reads past the end" is "$(tail -c +5000001 "$at/odd/big")" ""
check "mmap" is \
    "$(python3 -c "import mmap, sys
with open(sys.argv[1], 'rb') as f:
    sys.stdout.buffer.write(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ))" "$at/odd/big" | sha256sum)" \
    "$(sha256sum <"$work/unpacked/odd/big")"
check "programs run in a chroot" is \
    "$(chroot "$at" /bin/bash -c 'echo "$(LC_ALL=C perl /bin/answer.pl) $(cat /odd/plain)"')" "42 hello"
check "flock" flock -n "$at/odd/plain" true
check "inotify" python3 -c "import ctypes, sys
libc = ctypes.CDLL(None)
fd = libc.inotify_init()
sys.exit(libc.inotify_add_watch(fd, sys.argv[1].encode(), 0xfff) < 0)" "$at/etc"
check "nothing can be written" is \
    "$(for command in "touch $at/new" "rm $at/odd/plain" \
    "chmod 700 $at/odd/plain" "setfattr -n user.x -v y $at/odd/plain"; do
        $command; done 2>&1 | grep -c 'Read-only file system')" 4
check "devices do not work unless asked for" is "$(cat "$at/odd/null" 2>&1 | grep -c denied)" 1
check "many readers at once" bash -c "cd '$at' && for i in 1 2 3 4; do
    find . -type f -print0 | sort -zR | xargs -0 cat >/dev/null & done; wait"
check "clipd umount" stop
check "leaves nothing mounted" is "$(unmounted && echo 1)" 1

start --allow-dev --allow-suid "$index"
check "--allow-dev: devices work" dd if="$at/odd/null" of=/dev/null status=none
cp /usr/bin/id "$work/bundle/rootfs/odd/" 2>/dev/null
check "--allow-suid: the mount is not nosuid" is \
    "$(grep " $at " /proc/self/mountinfo | grep -c nosuid)" 0
stop

# ----------------------------------------------------- how much is read

start "$index"
cat "$at/odd/plain" >/dev/null
stop
spans=$(grep -o 'spans_fetched=[0-9]*' "$log" | cut -d= -f2)
check "one small file of a large layer costs two spans at most (of $("$clip" inspect --json "$index" |
    jq '[.layers[].spans // .layers[].n_spans] | add')): $spans" test "$spans" -ge 0 -a "$spans" -le 2

# ------------------------------------------------- a directory of 100,000

python3 - wide.tar <<'END'
import sys, tarfile
with tarfile.open(sys.argv[1], "w") as tar:
    for i in range(100000):
        tar.addfile(tarfile.TarInfo(f"wide/{i * 7919 % 100000}"))
END
layout wide wide.tar
index oci:wide wide.clip

seekdir_goes_back() {
    python3 - "$at/wide" <<'END'
import ctypes, sys
libc = ctypes.CDLL(None)
libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
libc.telldir.restype = ctypes.c_long
stream = ctypes.c_void_p(libc.opendir(sys.argv[1].encode()))
# a struct dirent of Linux: its name begins 19 bytes in
name = lambda: ctypes.string_at(libc.readdir(stream) + 19)
for _ in range(70000):
    name()
place = ctypes.c_long(libc.telldir(stream))
seen = [name() for _ in range(5000)]
libc.seekdir(stream, place)
sys.exit(seen != [name() for _ in range(5000)])
END
}

start wide.clip
check "a directory of 100,000 entries: each of them once" is \
    "$(find "$at/wide" -type f -printf '%f\n' | sort -n | uniq | awk '{ n++; s += ($1 == NR - 1) }
        END { print n, s }')" "100000 100000"
check "seekdir goes back to where telldir was" seekdir_goes_back
check "and any name is found in it" is \
    "$(cd "$at/wide" && echo $(ls 70001) $([ -e 100000 ] || echo none))" "70001 none"
stop

# ------------------------------------------------------------- requests

# a library of a sanitizer's build wants it in the program, too
sanitizer=$(sed -n 's/^CLIP_SANITIZE:[A-Z]*=\(..*\)/-fsanitize=\1/p' "$build/CMakeCache.txt")
cc -O2 $sanitizer -o "$work/host" "$here/../../bench/host.c" -I"$here/../../include" -L"$build" \
    -Wl,-rpath,"$build" -lclip -luv || exit 1
coproc HOST { exec "$work/host" "$index" "$work/cache"; }
host=$HOST_PID
exec {to_host}>&"${HOST[1]}" {from_host}<&"${HOST[0]}" {HOST[1]}>&-

ask() {
    echo "$1" >&"$to_host"
    read -r answer <&"$from_host"
}

# made COMMAND...: the requests that it makes, by opcode, as "name number ..."
made() {
    local before after
    ask requests
    before=$answer
    "$@" >/dev/null 2>&1
    ask requests
    after=$answer
    python3 -c "import sys
def read(text):
    words = text.split()[1:]
    return dict(zip(words[::2], map(int, words[1::2])))
before, after = read(sys.argv[1]), read(sys.argv[2])
print(*(f'{k} {n - before.get(k, 0)}' for k, n in after.items()
        if n > before.get(k, 0) and 'forget' not in k))" "$before" "$after"
}

# find asks for the root's attributes and for the file system's, which no kernel caches.
beside() {
    sed -E "s/($1) [0-9]+ ?//g; s/ $//"
}
ask "mount $at"
check "a cold find uses readdirplus alone" is \
    "$(made find "$at" | beside 'getattr|opendir|statfs' | tr -d ' 0-9')" readdirplus
# warm NAME COMMAND...: no request the second time. Whoever drops the machine's caches meanwhile may
# spoil that, so it is tried more than once.
warm() {
    local name=$1 found i
    shift
    for i in {1..20}; do
        made "$@" >/dev/null
        found=$(made "$@" | beside statfs)
        [ -n "$found" ] || break
    done
    check "$name" is "$found" ""
}
warm "a warm find -ls makes no request" find "$at" -ls
warm "a warm exec makes no request" chroot "$at" /bin/ls /
warm "nor does a name that is missing for the second time" stat "$at/nothing/here"
warm "nor what was read before" cat "$at/odd/big"
exec {to_host}>&-
wait "$host"
check "a host's loop ends well" is $? 0
host=

# ------------------------------------------------------- what is refused

# refused TEXT COMMAND...: with one sentence that has TEXT, and nothing is mounted.
refused() {
    fails 1 "$@" && unmounted
}

to_mount() {
    "$clipd" mount --cache-dir "$work/cache" "$@"
}
check "a mountpoint that is missing" refused "none does not exist" to_mount "$index" "$work/none"
check "a mountpoint that is a file" refused "not a directory" to_mount "$index" "$index"
check "a mountpoint that is not empty" refused "not empty" to_mount "$index" "$work"
check "a mountpoint that is busy" refused "type proc" to_mount "$index" /proc
check "an index that is missing" refused "none.clip" to_mount "$work/none.clip" "$at"
head -c 1000 "$index" >"$work/short.clip"
check "an index that is cut" refused "short.clip" to_mount "$work/short.clip" "$at"
check "an index that is none" refused "passwd" to_mount /etc/passwd "$at"
check "unmounting what is no clip mount" refused "nothing is mounted" "$clipd" umount "$at"
mount -t tmpfs none /dev
check "a machine without /dev/fuse" refused "there is no /dev/fuse" to_mount "$index" "$at"
umount /dev
start "$index"
check "a mountpoint that is ours already" fails 1 "clip mount already" \
    to_mount --quiet "$index" "$at"
check "the first one still serves" test -s "$at/odd/plain"
stop

# ------------------------------------------------- an image without an index

check "clipd mount indexes an image" \
    "$clipd" mount --quiet --cache-dir "$work/cache-i" "oci:$work/oci:latest" "$at"
check "and shows it" is "$(cat "$at/odd/plain")" hello
check "clipd umount of it" "$clipd" umount "$at"
made=$(ls "$work"/cache-i/indexes/sha256-*.clip)
before=$(stat -c %i "$made")
check "the second time it has the index" \
    "$clipd" mount --quiet --cache-dir "$work/cache-i" "oci:$work/oci:latest" "$at"
check "clipd umount of it again" "$clipd" umount "$at"
check "which is the same file" is "$(stat -c %i "$made")" "$before"
check "an image that is not there" refused "oci-none" \
    to_mount "oci:$work/oci-none:latest" "$at"
check "an index by name that is not there" refused "none.clip" to_mount none.clip "$at"

# ------------------------------------------------------------ how it ends

start "$index"
kill -TERM "$pid"
check "SIGTERM ends it" until_true ended "$pid"
check "and unmounts" unmounted

start "$index"
kill -KILL "$pid"
until_true ended "$pid"
# A dying process lets go of its program before it lets go of its files.
dead() {
    [[ $(cat "$at/odd/big" 2>&1) == *"not connected"* ]]
}
check "a killed clipd leaves a dead mount" until_true dead
check "that clipd umount takes away" "$clipd" umount "$at"
start "$index"
check "so that it can be mounted again" is "$(cat "$at/odd/plain")" hello
stop

start "$index"
umount -l "$at"
check "umount -l ends it" until_true ended "$pid"

start "$index"
exec {held}<"$at/odd/big"
umount -l "$at"
check "with a file open it serves on" test "$(head -c 1000 <&$held | wc -c)" = 1000
exec {held}<&-
check "until that is closed" until_true ended "$pid"

start "$index"
exec {held}<"$at/bin/perl"
kill -TERM "$pid"
check "SIGTERM while a file is open ends it" until_true ended "$pid"
check "and unmounts all the same" unmounted
check "who holds the file gets an error" is "$(cat <&$held 2>&1 >/dev/null | grep -c cat:)" 1
exec {held}<&-

start "$index"
mkdir "$work/control"
mount -t fusectl none "$work/control"
echo 1 >"$work/control/$(stat -c %Ld "$at")/abort"
check "an aborted connection ends it" until_true ended "$pid"
check "and unmounts" unmounted
check "with a word in the log" grep -q "cut the connection" "$log"
umount "$work/control"

# --------------------------------------------------------- other than root

# As the helper fusermount3 mounts: only that user sees it.
mknod -m 666 "$work/fuse" c 10 229 && mount --bind "$work/fuse" /dev/fuse
chmod 755 "$work" && chown 65534 "$at" && mkdir -m 777 "$work/cache-of-nobody"
chmod -R a+rX "$work/oci"
if ! nobody_can_run "$clipd"; then
    skip "mount by another user" "others cannot run clipd where it lies"
elif have fusermount3 && [ -u "$(command -v fusermount3)" ]; then
    check "another user mounts through fusermount3" as_nobody "$clipd" mount \
        --cache-dir "$work/cache-of-nobody" "$index" "$at"
    pid=$(find_server)
    check "and reads" is "$(as_nobody cat "$at/odd/plain")" hello
    check "that is for that user alone" is "$(cat "$at/odd/plain" 2>&1 | grep -c denied)" 1
    check "and unmounts" as_nobody "$clipd" umount "$at"
    check "which ends it" until_true ended "$pid"
else
    skip "mount by another user" "no setuid fusermount3"
fi
chown 0 "$at"
umount /dev/fuse

# -------------------------------------------------------------- containers

if command -v runc >/dev/null; then
    start "$index"
    mkdir -p "$work/c/"{rootfs,upper,work}
    mount -t overlay overlay -o "lowerdir=$at,upperdir=$work/c/upper,workdir=$work/c/work" \
        "$work/c/rootfs"
    mkdir -p "$work/c/rootfs/"{proc,dev,sys}
    (cd "$work/c" && runc spec &&
        jq '.process.terminal = false | .root.readonly = false
            | .process.args = ["/bin/sh", "-c", "echo written >/new; cat /new; perl -e \"print 42\""]
            | del(.linux.resources) | .linux.cgroupsPath = ""
            | .linux.namespaces |= map(select(.type != "cgroup"))' config.json >new.json &&
        mv new.json config.json)
    said=$(cd "$work/c" && runc --root "$work/runc" run "clip-test-$$" 2>&1)
    if grep -q cgroup <<<"$said" && ! grep -q written <<<"$said"; then
        echo "skip runc: no cgroups here: $(tail -1 <<<"$said")"
    else
        check "runc runs a container from it" is "$(paste -sd' ' <<<"$said")" "written 42"
    fi
    umount "$work/c/rootfs"
    stop
else
    echo "skip runc: it is not installed"
fi

# ------------------------------------------------------------ a real image

debian=${CLIP_BENCH_DIR:-/var/tmp/clip-bench}/base
if [ ! -d "$debian" ] && command -v mmdebstrap >/dev/null &&
    "$here/../../bench/images" "$work/bench/" base >"$log" 2>&1; then
    debian=$work/bench/base
fi
if [ -d "$debian" ]; then
    rm -rf "$work/unpacked"
    umoci raw unpack --image "$debian:latest" "$work/unpacked" >/dev/null 2>&1
    "$clip" index --quiet "oci:$debian" "$work/debian.clip"
    start "$work/debian.clip"
    check "a Debian image is what umoci unpacks" "$system/same_dirs.py" "$work/unpacked" "$at"
    stop
else
    echo "skip a Debian image: mmdebstrap cannot make one here"
fi
