#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# docs/format.md says enough: a reader written from it alone (format.py) sees the same tree as clip, and
# decodes every span of every codec to the same bytes.
. "$(dirname "$0")/lib.sh"
begin

mkdir -p tree/dir/empty tree/etc
seq 200000 >tree/numbers
head -c 300000 /dev/urandom >tree/random
python3 -c 'import random; random.seed(1); print(*(random.randrange(10**9) for _ in range(10**5)))' \
    >tree/text
truncate -s 1M tree/sparse && printf end >>tree/sparse
printf x >"tree/$(printf '\377\376')"
: >tree/empty
mkfifo tree/fifo
ln tree/numbers tree/dir/hard && ln -s ../numbers tree/dir/soft
chmod 4711 tree/text
[ "$(id -u)" != 0 ] || { mknod tree/null c 1 3 && setfattr -n user.x -v 0x00ff tree/text; }
mkdir tree/__pycache__
printf '#!/etc/sh\n' >tree/run
printf '#!/none\n' >tree/etc/sh
printf 'import b\n' >tree/a.py
printf 'import a, none\n' >tree/b.py
printf x >tree/__pycache__/b.cpython-311.pyc
tar -C tree -S --numeric-owner --format=posix --xattrs --xattrs-include='*' -cf tree.tar .
mkdir upper && seq 5 >upper/new && : >upper/.wh.random
tar -C upper --numeric-owner -cf upper.tar .

reads() { # CODEC FILE
    rm -rf image out.clip
    layout image "$1:$2" gzip:upper.tar &&
        index --span-size 128KiB oci:image:latest out.clip &&
        python3 "$here/format.py" compare out.clip "$clip" &&
        python3 "$here/format.py" read out.clip image
}

check "plain tar" reads tar tree.tar
check "gzip" reads gzip tree.tar
check "zstd of one frame" reads zstd tree.tar

split -b 500000 tree.tar part.
for part in part.*; do
    gzip -nc "$part" >>members.gz
    zstd -qc "$part" >>frames.zst
done
check "gzip of many members" reads packed members.gz
check "zstd of many frames" reads packed+tar+zstd frames.zst
python3 - >stored.gz <<'EOF'
import sys, zlib
z = zlib.compressobj(0, zlib.DEFLATED, 31)
data = open("tree.tar", "rb").read()
sys.stdout.buffer.write(z.compress(data) + z.flush())
EOF
check "gzip of stored blocks" reads packed stored.gz
if have igzip; then
    igzip -c tree.tar >igzip.gz 2>/dev/null
    check "gzip of igzip" reads packed igzip.gz
fi
if have zopfli; then
    zopfli --i1 -c tree.tar >zopfli.gz
    check "gzip of zopfli" reads packed zopfli.gz
fi
python3 - >huge.gz <<'EOF'
import sys, zlib
data = open("tree.tar", "rb").read()
z = zlib.compressobj(9, zlib.DEFLATED, 31, 9, zlib.Z_FIXED)  # one code all along: blocks may be long
sys.stdout.buffer.write(z.compress(data) + z.flush())
EOF
check "gzip of fixed codes" reads packed huge.gz

check "what files need" is "$(python3 "$here/format.py" needs out.clip)" "/a.py /__pycache__/b.cpython-311.pyc
/run /etc/sh
/__pycache__/b.cpython-311.pyc /a.py"
check "clip stat says it, too" eval '"$clip" stat out.clip /run | grep -q "^needs    /etc/sh$"'
check "clip inspect counts them" eval '"$clip" inspect out.clip | grep -q "^needs        3, " &&
    "$clip" inspect --json out.clip | jq -e ".needs == 3" >/dev/null'
check "and in JSON" eval '"$clip" stat --json out.clip /__pycache__/b.cpython-311.pyc |
    jq -e ".needs == [{path: \"/a.py\"}]" >/dev/null'
check "of what needs none it says nothing" eval '"$clip" stat --json out.clip /etc |
    jq -e ".needs == []" >/dev/null'

finish
