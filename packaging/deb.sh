#!/bin/bash
# Makes the Debian packages vsndd, vsndd-pipewire, vsnd-tools and vsnd-dkms in target/deb, from the release builds and the module's release.
# usage: deb.sh [VERSION]   (of the packages; without it Cargo.toml's)
# environment: PROGRAMS=directory of our programs, ARCH and SUITE: for that architecture and Debian, with the programs that
# scripts/cross.sh has built; they go to target/deb/SUITE-ARCH
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
project=$(dirname "$here")
programs=${PROGRAMS:-$project/target/release}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$project/Cargo.toml" | head -n1)
release=$project/target/dist/vsnd-dkms-$version.tar.gz
deb_version=${1:-$version}
out=$project/target/deb
# Programs that run here, and print the manual pages.
native=$programs
foreign=()
if [ -n "${ARCH:-}${SUITE:-}" ]; then
    arch=${ARCH:-amd64} suite=${SUITE:-12}
    cross=$project/target/cross/$arch-$suite
    programs=$(echo "$cross"/build/*/release)
    out=$out/$suite-$arch
    foreign=(-a "$arch")
fi
work=$out/work
inputs=$work/vsnd/inputs

rm -rf "$work"
mkdir -p "$inputs"/{docs,man,completions,vsnd-dkms,modprobe.d}
cp -r "$here/debian" "$work/vsnd/"
cp "$here/vsndd.service" "$work/vsnd/debian/vsndd.service"
cp "$here/vsndd.udev" "$work/vsnd/debian/vsndd.udev"
for unit in "$here"/vsnd-desktop@.*; do cp "$unit" "$work/vsnd/debian/vsndd.$(basename "$unit")"; done
sed -i "s/@DKMS_VERSION@/$version/" "$work/vsnd/debian/vsnd-dkms.install"
awk 'NR == FNR { text = text ($0 == "" ? " ." : " " $0) "\n"; next } $0 == "@MIT@" { printf "%s", text; next } { print }' \
    <(tail -n +3 "$project/LICENSE-MIT") "$here/debian/copyright" > "$work/vsnd/debian/copyright"
moment=${SOURCE_DATE_EPOCH:-$(git -C "$project" log -1 --format=%ct 2>/dev/null || echo 0)}
cat > "$work/vsnd/debian/changelog" << END
vsnd ($deb_version) unstable; urgency=medium

  * Version $version.

 -- vsnd authors <vsnd@localhost.localdomain>  $(date -R -u -d "@$moment")
END

install -m755 "$programs"/{vsndd,vsndd-pipewire,vsnd-desktop,vsnd,vsnd-pipewire} "$inputs/"
# The pages show defaults, which these variables would change.
unset VSND_XEN VSND_SOCKET VSND_LOG
"$native/vsndd" --man 8 > "$inputs/man/vsndd.8"
"$native/vsndd" --man 5 > "$inputs/man/vsndd.toml.5"
"$native/vsnd" man "$inputs/man"
"$native/vsnd" completions bash > "$inputs/completions/vsnd"
"$native/vsnd" completions zsh > "$inputs/completions/_vsnd"
"$native/vsnd" completions fish > "$inputs/completions/vsnd.fish"
cp "$project/docs/driver.md" "$inputs/"
cp "$project"/docs/{service,desktop,control,policy,xen,sound,troubleshooting,monitoring}.md "$project/docs/vsndd.toml" "$inputs/docs/"
cp -r "$project/docs/monitoring" "$inputs/docs/"
# The documentation's configuration without the listener for metrics and without the examples of rules, which name guests that do not exist.
sed '/^\[metrics\]/,$ s/^\([^#]\)/#\1/' "$project/docs/vsndd.toml" > "$inputs/vsndd.toml"
tar -C "$inputs/vsnd-dkms" --strip-components=1 -xzf "$release"
rm "$inputs"/vsnd-dkms/{README.md,LICENSE-MIT,LICENSE-GPL-2.0}
mv "$inputs/vsnd-dkms/vsnd-modprobe.conf" "$inputs/modprobe.d/vsnd.conf"
mv "$inputs/vsnd-dkms/desktop" "$inputs/"

if [ ${#foreign[@]} -gt 0 ]; then
    # Package names of that Debian's libraries, which this Debian does not know.
    cp "$cross/shlibs" "$work/vsnd/debian/shlibs.local"
    LIBRARIES=$(echo "$cross"/sysroot/usr/lib/*-linux-gnu)
    export LIBRARIES
fi
(cd "$work/vsnd" && DKMS_VERSION=$version DEB_BUILD_OPTIONS="noautodbgsym nocheck" SOURCE_DATE_EPOCH=$moment \
    dpkg-buildpackage -b -us -uc -d "${foreign[@]}" > ../log 2>&1) || { tail -n 40 "$work/log" >&2; exit 1; }
mv "$work"/*.deb "$out/"
(cd "$out" && ls -- *"_${deb_version}_"*.deb)
