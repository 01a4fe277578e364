#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Downloads checkpatch.pl of the newest kernel, with the lists that it reads, out of Debian's kernel source, to
# target/checkpatch. Nothing is installed. A second run does nothing.
set -euo pipefail

project=$(cd "$(dirname "$0")/.." && pwd)
into=$project/target/checkpatch
[ ! -e "$into/checkpatch.pl" ] || exit 0
apt=$project/target/roots/apt/13-amd64
"$project/scripts/apt.sh" "$apt" amd64 trixie
source=$(apt-cache -c "$apt/apt.conf" pkgnames linux-source- | grep -x 'linux-source-[0-9.]*' | sort -V | tail -n1)
echo "Downloading the source of kernel ${source#linux-source-} for its checkpatch.pl (160 MB)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get -c "$apt/apt.conf" download -qq "$source")
dpkg-deb --fsys-tarfile "$work"/*.deb | tar -xO "./usr/src/$source.tar.xz" |
    tar -xJ -C "$work" --strip-components=2 --wildcards '*/scripts/checkpatch.pl' '*/scripts/spelling.txt' \
        '*/scripts/const_structs.checkpatch'
# checkpatch.pl looks for names in a kernel's headers, but needs none of them.
mkdir -p "$into/include"
mv "$work"/{spelling.txt,const_structs.checkpatch,checkpatch.pl} "$into/"
