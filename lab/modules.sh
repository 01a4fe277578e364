#!/bin/bash
# Builds our module for the guests' kernels of platforms, with the compiler of their Debian; image.sh finds it below
# target/module.
# usage: modules.sh PLATFORM...
set -euo pipefail

lab=$(cd "$(dirname "$0")" && pwd)
linux=$(dirname "$lab")/linux
# shellcheck source=lab/platform.sh
. "$lab/platform.sh"

for name in "$@"; do
    platform "$name"
    series=${guest_kernel%-16k}
    case $arch-$debian in
        amd64-12) echo "build.sh $series" ;;
        *) echo "matrix.sh $debian $series $arch${guest_kernel#"$series"}" ;;
    esac
done | sort -u | while read -r script row; do
    "$linux/$script" "$row"
done
