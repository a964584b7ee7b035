# SPDX-License-Identifier: Apache-2.0
# An image of real programs for the scripts beside it, from this machine's own: . programs.sh, then
# make_programs. It makes $work/programs.clip and $work/programs (an OCI layout), with a user
# `tester` (1000:1000, also in group 2000), a setuid program, one with a file capability, and links.

# add_program PATH [NAME]: with the libraries that it needs.
add_program() {
    local path library
    path=$(readlink -f "$1")
    install -D -m 0755 "$path" "$tree/bin/${2:-$(basename "$1")}"
    ldd "$path" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
        [ -e "$tree$library" ] || install -D -m 0755 "$(readlink -f "$library")" "$tree$library"
    done
}

make_tree() {
    local program
    mkdir -p "$tree"/{bin,etc,root,home/tester,tmp,usr,var/empty}
    chmod 1777 "$tree/tmp"
    for program in sh cat echo id ls mkdir stat touch sleep env sha256sum readlink chown head wc \
        true false kill; do
        add_program "$(type -P $program)"
    done
    ln -s ../bin "$tree/usr/bin"
    cp "$tree/bin/id" "$tree/bin/suid-id"
    chmod 4755 "$tree/bin/suid-id"
    cp "$tree/bin/cat" "$tree/bin/capable-cat"
    setcap cap_dac_override+ep "$tree/bin/capable-cat" 2>/dev/null
    echo secret >"$tree/etc/secret"
    chmod 0600 "$tree/etc/secret"
    printf 'root:x:0:0:root:/root:/bin/sh\ntester:x:1000:1000::/home/tester:/bin/sh\n' \
        >"$tree/etc/passwd"
    printf 'root:x:0:\ntester:x:1000:\nextra:x:2000:root,tester\n' >"$tree/etc/group"
    chown 1000:1000 "$tree/home/tester"
    head -c 3000000 /dev/urandom >"$tree/var/noise"
    sha256sum <"$tree/var/noise" | cut -d' ' -f1 >"$tree/var/noise.sha256"
}

make_programs() {
    local tree=$work/tree config
    config='{"Env":["PATH=/bin:/usr/bin","GREETING=from the image"],"Cmd":["/bin/sh","-c",
             "echo $GREETING; id -u"],"WorkingDir":"/home/tester","User":"tester",
             "StopSignal":"SIGINT"}'
    make_tree
    tar -C "$tree" --xattrs --xattrs-include='*' --numeric-owner -cf "$work/programs.tar" .
    IMAGE_CONFIG=$config layout "$work/programs" "gzip:$work/programs.tar"
    "$clip" index --quiet "oci:$work/programs:latest" "$work/programs.clip"
    rm -rf "$tree" "$work/programs.tar"
}
