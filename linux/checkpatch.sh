#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Downloads Linux's checkpatch.pl, with the lists that it reads, out of Debian's kernel source: target/checkpatch. Nothing is
# installed. Does nothing twice.
set -euo pipefail

into=$(cd "$(dirname "$0")/.." && pwd)/target/checkpatch
[ ! -e "$into/checkpatch.pl" ] || exit 0
series=6.12
echo "Downloading the source of kernel $series for its checkpatch.pl (140 MB)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Without root, apt-get download would try to become another user first.
(cd "$work" && apt-get -o APT::Sandbox::User=root download -qq "linux-source-$series")
dpkg-deb --fsys-tarfile "$work"/*.deb | tar -xO "./usr/src/linux-source-$series.tar.xz" |
    tar -xJ -C "$work" --strip-components=2 --wildcards '*/scripts/checkpatch.pl' '*/scripts/spelling.txt' \
        '*/scripts/const_structs.checkpatch'
# It looks for names in a kernel's headers, of which it needs none.
mkdir -p "$into/include"
mv "$work"/{spelling.txt,const_structs.checkpatch,checkpatch.pl} "$into/"
