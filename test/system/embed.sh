#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A host with a loop of its own and nothing but clip.h (examples/embed.c): embed.sh BUILD_DIR
. "$(dirname "$0")/lib.sh"
begin
embed=$build/examples/embed

make_image() {
    umoci init --layout oci && umoci new --image oci:latest &&
        umoci unpack --image oci:latest bundle &&
        cp -a /usr/share/common-licenses bundle/rootfs/licenses &&
        umoci repack --image oci:latest bundle &&
        "$clip" index --quiet "oci:$work/oci" image.clip
}

make_image >log 2>&1 || { echo "FAIL the image is made"; tail -n 5 log; exit 1; }
mkdir at
"$embed" image.clip at licenses/GPL-3 >out 2>log
check "a host mounts, reads and ends" test $? = 0
check "what it read is the file" cmp out /usr/share/common-licenses/GPL-3
check "it says nothing" test ! -s log
"$embed" image.clip at none >out 2>log
check "a path that is missing is an error" test $? = 1
check "in one line" test "$(wc -l <log)" = 1
"$embed" image.clip none x >out 2>log
check "so is a mountpoint that is missing" test $? = 1
check "with a sentence" grep -q "does not exist" log
check "nothing is left mounted" test "$(grep -c " $work/at " /proc/self/mountinfo)" = 0
finish
