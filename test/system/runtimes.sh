#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Real runtimes on roots of clip: runc, crun, podman, containerd, gVisor: runtimes.sh BUILD_DIR.
# Each runs the same programs; one that is not installed, or that cannot run anything on this
# machine, is skipped. Needs root and /dev/fuse. What it mounts is in a namespace of its own.
. "$(dirname "$0")/lib.sh"
begin
. "$here/clipd.sh"
. "$system/programs.sh"
make_programs || { echo "FAIL the image is made"; exit 1; }
start_daemon || exit 1

# crun refuses cgroup v1 with a v2 hierarchy beside it; in our namespace we can do without.
umount /sys/fs/cgroup/unified 2>/dev/null

mkdir volume
echo from the host >volume/file

# A plain unpacked root: what a runtime cannot run from there is not clip's to answer for.
mkdir -p plain
"$clip" mount --quiet --cid plain programs.clip >/dev/null
tar -C "run/plain/rootfs" --xattrs --xattrs-include='*' -cf - . | tar -C plain --xattrs \
    --xattrs-include='*' -xf - && mkdir -p plain/{proc,sys,dev}
"$clip" umount plain

# expect OUTPUT COMMAND...: stdout, whatever stderr says.
expect() {
    local want=$1 got
    shift
    got=$("$@" 2>stderr </dev/null)
    [ "$got" = "$want" ] || { echo "printed '$got', expected '$want'"; cat stderr; return 1; }
}

ends_with() {
    local want=$1 got
    shift
    "$@" >stdout 2>&1 </dev/null
    got=$?
    [ $got -eq "$want" ] || { echo "ended with $got, not $want"; cat stdout; return 1; }
}

# ---- runtimes of OCI bundles, through clip run
oci() {
    local name=$1 run
    shift
    run=("$clip" run --runtime "$1" programs.clip)
    run_as() { "$clip" run --runtime "$runtime" "$@"; }
    runtime=$1
    check "$name runs what the image says, as whom it says" \
        expect $'from the image\n1000' "$clip" run --runtime "$1" programs.clip
    check "$name passes the exit code on" ends_with 7 "${run[@]}" sh -c 'exit 7'
    check "$name reads the whole of a large file" \
        expect true run_as programs.clip sh -c '[ "$(sha256sum </var/noise | head -c 64)" = "$(cat /var/noise.sha256)" ] && echo true'
    check "$name mounts /proc, /sys and /dev" \
        expect true run_as --user root programs.clip sh -c '[ -d /proc/self ] && [ -d /sys/class ] && [ -c /dev/null ] && echo true'
    check "$name writes as root" \
        expect new run_as --user root programs.clip sh -c 'echo new >/etc/new && cat /etc/new'
    check "$name binds onto a new file" \
        expect "from the host" run_as --volume "$work/volume/file:/new/file:ro" programs.clip cat /new/file
    check "$name binds onto a new directory" \
        expect file run_as --volume "$work/volume:/new/dir" programs.clip ls /new/dir
    check "$name binds onto a file of the image" \
        expect "from the host" run_as --volume "$work/volume/file:/etc/group" programs.clip cat /etc/group
    check "$name has a read-only root" ends_with 1 run_as --ro --user root programs.clip touch /x
    check "$name binds into a read-only root" \
        expect "from the host" run_as --ro --volume "$work/volume/file:/new" programs.clip cat /new
    check "$name runs setuid programs" \
        expect 0 run_as --user tester programs.clip suid-id -u
    check "$name keeps other users out" ends_with 1 run_as --user tester programs.clip cat /etc/secret
    check "$name minds a file's capabilities" \
        expect secret run_as --user tester programs.clip capable-cat /etc/secret
    check "$name knows a user's groups" \
        expect "1000 2000" run_as --user tester programs.clip id -G
    check "$name runs as any number" \
        expect "4711:12" run_as --user 4711:12 programs.clip sh -c 'echo $(id -u):$(id -g)'
    check "$name passes a signal on" signalled
    check "$name leaves a profile" keeps_profile
}

# What the program read is in the index when it has ended, and its exit code is clip run's.
keeps_profile() {
    cp programs.clip "profile-$runtime.clip"
    ends_with 3 "$clip" run --profile --runtime "$runtime" "profile-$runtime.clip" sh -c \
        'cat /var/noise >/dev/null; exit 3' &&
        "$clip" inspect --json "profile-$runtime.clip" | jq -e '.profile_spans > 2'
}

# SIGTERM to clip run reaches the program, and its end is clip run's.
signalled() {
    "$clip" run --cid sig --runtime "$runtime" programs.clip sh -c \
        'trap "exit 5" TERM; echo up; while :; do sleep 0.1; done' >sig.out 2>&1 &
    local child=$!
    until_true grep -q up sig.out || { cat sig.out; return 1; }
    kill -TERM $child
    wait $child
    local code=$?
    [ $code -eq 5 ] || { echo "ended with $code"; cat sig.out; return 1; }
}

nothing_left() {
    api GET /v1/containers | grep -F '{"containers":[]}' && [ -z "$(ls -A run/.bundles)" ]
}

# can NAME COMMAND...: false, and a skip, if it cannot even run `true` from a plain directory.
can() {
    local name=$1
    shift
    "$@" >can.out 2>&1 </dev/null && return
    skip "$name" "it cannot run a program from a plain directory here: $(grep . can.out | tail -n 1 | cut -c1-160)"
    return 1
}

# An OCI runtime with a bundle whose root is the plain directory.
plain_bundle() {
    local runtime=$1 bundle=$work/plain-bundle
    shift
    mkdir -p "$bundle"
    "$clip" mount --quiet --cid pb --bundle "$bundle" programs.clip >/dev/null || return 1
    jq --arg root "$work/plain" '.root.path = $root | .process.args = ["/bin/true"]' \
        "$bundle/config.json" >config.new && mv config.new "$bundle/config.json"
    "$clip" umount pb
    "$runtime" "$@" run --bundle "$bundle" "plain-$$"
}

test_oci() {
    local name=$1
    have "$name" || { skip "$name" "not installed"; return; }
    can "$name" plain_bundle "$name" || return
    oci "$name" "$name"
    check "$name leaves nothing behind" until_true nothing_left
}

# ---- gVisor: its gofer reads the root for it, its kernel is its own
test_runsc() {
    have runsc || { skip runsc "not installed"; return; }
    printf '#!/bin/sh\nexec runsc --network=none --ignore-cgroups --platform=%s --root %s "$@"\n' \
        "$1" "$work/runsc" >runsc.sh
    chmod +x runsc.sh
    can "runsc ($1)" plain_bundle "$work/runsc.sh" || return
    runtime=$work/runsc.sh
    check "runsc runs what the image says" \
        expect $'from the image\n1000' "$clip" run --runtime "$runtime" programs.clip
    check "runsc reads the whole of a large file" \
        expect true "$clip" run --runtime "$runtime" programs.clip sh -c '[ "$(sha256sum </var/noise | head -c 64)" = "$(cat /var/noise.sha256)" ] && echo true'
    check "runsc writes as root" expect new "$clip" run --runtime "$runtime" --user root programs.clip \
        sh -c 'echo new >/etc/new && cat /etc/new'
    check "runsc has a read-only root" ends_with 1 "$clip" run --runtime "$runtime" --ro --user root \
        programs.clip touch /x
    check "runsc passes the exit code on" \
        ends_with 7 "$clip" run --runtime "$runtime" programs.clip sh -c 'exit 7'
    check "runsc leaves nothing behind" until_true nothing_left
}

# ---- podman run --rootfs
podman_run() {
    local rootfs=$1
    shift
    podman --root "$work/podman" --runroot "$work/podman-run" --cgroup-manager cgroupfs \
        --storage-driver vfs --runtime "$podman_runtime" run --rm --network none --ulimit nofile=1024:1024 \
        --ulimit nproc=1024:1024 \
        --log-driver none "${podman_options[@]}" --rootfs "$rootfs" "$@"
}

test_podman() {
    have podman || { skip podman "not installed"; return; }
    podman_options=() podman_runtime=$(type -P runc || type -P crun)
    can podman podman_run "$work/plain" true || return
    "$clip" mount --cid pod programs.clip >/dev/null
    local root=$work/run/pod/rootfs
    check "podman runs a program" expect hello podman_run "$root" echo hello
    check "podman reads the whole of a large file" expect "$(cat "$root/var/noise.sha256")" \
        podman_run "$root" sh -c 'sha256sum </var/noise | head -c 64'
    check "podman passes the exit code on" ends_with 7 podman_run "$root" sh -c 'exit 7'
    check "podman mounts /proc, /sys and /dev" expect true podman_run "$root" \
        sh -c '[ -d /proc/self ] && [ -d /sys/class ] && [ -c /dev/null ] && echo true'
    podman_options=(--user tester)
    check "podman runs as a user of the image" expect 1000 podman_run "$root" id -u
    check "podman runs setuid programs" expect 0 podman_run "$root" suid-id -u
    podman_options=(--volume "$work/volume:/new/dir" --volume "$work/volume/file:/new/file")
    check "podman binds onto new files and directories" \
        expect $'from the host\nfile' podman_run "$root" sh -c 'cat /new/file; ls /new/dir'
    podman_options=(--read-only)
    check "podman has a read-only root" ends_with 1 podman_run "$root" touch /x
    check "podman lets go of the root" "$clip" umount pod
}

# ---- containerd, through ctr run --rootfs
ctr_run() {
    local root=$1
    shift
    ctr --address "$work/containerd.sock" run --rm --env PATH=/bin --rootfs \
        "${ctr_options[@]}" "$root" \
        "c$((n_ctr += 1))" "$@"
}

start_containerd() {
    cat >containerd.toml <<TOML
version = 2
root = "$work/containerd"
state = "$work/containerd-run"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$work/containerd.sock"
TOML
    containerd --config containerd.toml >containerd.log 2>&1 &
    containerd=$!
    until_true ctr --address "$work/containerd.sock" version
}

test_containerd() {
    have containerd && have ctr || { skip containerd "not installed"; return; }
    ctr_options=() n_ctr=0
    start_containerd || { skip containerd "it does not start here: $(tail -n 1 containerd.log)"; return; }
    if can containerd ctr_run "$work/plain" true; then
        "$clip" mount --cid ctr programs.clip >/dev/null
        local root=$work/run/ctr/rootfs
        check "containerd runs a program" expect hello ctr_run "$root" echo hello
        check "containerd reads the whole of a large file" expect "$(cat "$root/var/noise.sha256")" \
            ctr_run "$root" sh -c 'sha256sum </var/noise | head -c 64'
        check "containerd passes the exit code on" ends_with 7 ctr_run "$root" sh -c 'exit 7'
        ctr_options=(--mount "type=bind,src=$work/volume,dst=/new/dir,options=rbind:ro")
        check "containerd binds onto a new directory" expect file ctr_run "$root" ls /new/dir
        ctr_options=(--read-only)
        check "containerd has a read-only root" ends_with 1 ctr_run "$root" touch /x
        check "containerd lets go of the root" "$clip" umount ctr
    fi
    kill $containerd
    wait $containerd
}

test_oci runc
test_oci crun
test_podman
test_containerd
test_runsc "${CLIP_TEST_RUNSC_PLATFORM:-ptrace}"

# ---- without a clipd
stop_daemon
runtime=$(type -P runc || type -P crun || true)
if [ -n "$runtime" ]; then
    check "clip run brings a clipd along" \
        expect $'from the image\n1000' "$clip" run --runtime "$runtime" programs.clip
    no_socket() { [ ! -e "$socket" ]; }
    check "which ends by itself" until_true no_socket
    check "and leaves no mount" bash -c "! grep -q ' $work/run/' /proc/self/mountinfo"
fi
finish
