#!/bin/bash
# Builds our module for the guests' kernels of platforms, those that the lab has downloaded, with the compiler of their
# Debian; image.sh finds it below target/module. After a module that cannot be built the others still are.
# usage: modules.sh PLATFORM...
set -euo pipefail

lab=$(cd "$(dirname "$0")" && pwd)
linux=$(dirname "$lab")/linux
# shellcheck source=lab/platform.sh
. "$lab/platform.sh"

status=0 done=" "
for name in "$@"; do
    platform "$name"
    [[ $done != *" $arch-$debian-$guest_kernel "* ]] || continue
    done="$done$arch-$debian-$guest_kernel "
    series=${guest_kernel%-16k}
    if [ "$arch-$debian" = amd64-12 ]; then
        "$linux/build.sh" "$series" || status=1
    elif "$lab/fetch.sh" "$name"; then
        # The newest kernel may be newer than the one that the guests boot.
        RELEASE=$(cat "$cache/kernel-$guest_kernel/release") DKMS=no "$linux/matrix.sh" "$debian $series $arch${guest_kernel#"$series"}" || status=1
    else
        status=1
    fi
done
exit $status
