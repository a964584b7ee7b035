# SPDX-License-Identifier: Apache-2.0
# For the scripts beside it, which mount: as test/integration/lib.sh, which it reads, and in a mount
# namespace of its own, so that nothing outlives the script. A script that cannot mount is skipped.
#
#     . "$(dirname "$0")/lib.sh"          $1 of the script is the build directory
if [ "$(id -u)" != 0 ] || [ ! -c /dev/fuse ]; then
    echo "skip $(basename "$0"): needs root and /dev/fuse"
    exit 0
fi
# not on /tmp, which may be an overlay or a tmpfs: overlayfs and sparse files want a disk
if [ -z "${CLIP_TEST_INSIDE:-}" ]; then
    CLIP_TEST_INSIDE=1 TMPDIR=${CLIP_TEST_DIR:-/var/tmp} \
        exec unshare --mount --propagation private "$0" "$@"
fi
. "$(dirname "${BASH_SOURCE[0]}")/../integration/lib.sh"
system=$here/../system

n_mounts() {
    below_work | wc -l
}
