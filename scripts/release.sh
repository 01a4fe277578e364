#!/bin/bash
# Makes a release of the committed tree, target/release-VERSION: the sources, the module's sources, the Debian packages and
# their checksums; and its tag. All of it is built twice, in two directories of different names, and compared byte by byte.
# usage: release.sh [--snapshot]   (of a version that is not ready: no section in the list of changes, no tag)
# environment: FOR="arm64-12 ...", for which there are packages besides this machine's
set -euo pipefail

cd "$(dirname "$0")/.."
snapshot=""
[ "${1:-}" != --snapshot ] || snapshot=1

refuse() {
    echo "make release: $1" >&2
    exit 1
}

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n1)
tag=v$version
commit=$(git rev-parse HEAD)
grep -q "^PACKAGE_VERSION=\"$version\"" linux/dkms.conf ||
    refuse "Cargo.toml has version $version, linux/dkms.conf another"
[ -z "$(git status --porcelain)" ] ||
    refuse "some files are not committed, and a release has only what is (git status names them)"
if [ -z "$snapshot" ]; then
    grep -qE "^## $version( |$)" CHANGELOG.md ||
        refuse "CHANGELOG.md has no section '## $version': name the one of what is not released so (or try with SNAPSHOT=1)"
    ! grep -q '^## Not released' CHANGELOG.md ||
        refuse "CHANGELOG.md still has changes that are not released: they belong to '## $version', or to a later commit"
    tagged=$(git rev-parse -q --verify "refs/tags/$tag^{commit}" || true)
    [ -z "$tagged" ] || [ "$tagged" = "$commit" ] ||
        refuse "$tag is commit ${tagged:0:12} already: raise the version in Cargo.toml and linux/dkms.conf"
fi

# Each build has a directory and flags of its own.
unset CARGO_TARGET_DIR CARGO_BUILD_TARGET CARGO_ENCODED_RUSTFLAGS
out=target/release-$version
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
rm -rf "$out" && mkdir -p "$out/built"
git archive --prefix="vsnd-$version/" HEAD | gzip -n9 > "$out/vsnd-$version.tar.gz"

# build DIRECTORY RESULT: unpacks the sources, builds, and leaves what is released. No path of this machine gets into a program.
# Each step says itself that it failed: `set -e` does not hold where somebody asks how a function ended.
build() {
    local tree=$PWD/$1/vsnd-$version result=$2 platform
    mkdir -p "$1" "$result" && tar -C "$1" -xzf "$out/vsnd-$version.tar.gz" || return
    RUSTFLAGS="--remap-path-prefix=$tree=/vsnd --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
    RUSTFLAGS="$RUSTFLAGS --remap-path-prefix=$(rustc --print sysroot)=/rust"
    export RUSTFLAGS
    make --no-print-directory -C "$tree" deb && cp "$tree"/target/deb/*.deb "$tree"/target/dist/*.tar.gz "$result/" || return
    for platform in ${FOR:-}; do
        make --no-print-directory -C "$tree" deb ARCH="${platform%-*}" SUITE="${platform#*-}" &&
            mkdir -p "$result/debian-${platform#*-}" &&
            cp "$tree/target/deb/${platform#*-}-${platform%-*}"/*.deb "$result/debian-${platform#*-}/" || return
    done
    rm -rf "$tree"
}

# Names of different lengths: where a path gets into a program, the two differ.
for directory in one another-one; do
    echo "Building in target/release-$version/built/$directory; $out/$directory.log has what that prints"
    build "$out/built/$directory" "$out/$directory" > "$out/$directory.log" 2>&1 ||
        refuse "the build failed: $(scripts/failures.sh "$out/$directory.log") ($out/$directory.log)"
done
# The same files, with the same bytes.
(cd "$out/one" && find . -type f -exec sha256sum {} + | sort -k2) > "$out/SHA256SUMS.one"
(cd "$out/another-one" && find . -type f -exec sha256sum {} + | sort -k2) > "$out/SHA256SUMS.another-one"
differing=$(diff "$out/SHA256SUMS.one" "$out/SHA256SUMS.another-one" | sed -n 's/^[<>] [^ ]*  \.\///p' | sort -u | tr '\n' ' ' || true)
[ -z "$differing" ] ||
    refuse "built twice, these are not the same: $differing($out/one, $out/another-one; diffoscope says where)"

cp -r "$out/one/." "$out/"
rm -rf "$out"/{one,another-one,built,SHA256SUMS.*,*.log}
(cd "$out" && find . -type f ! -name SHA256SUMS -printf '%P\n' | sort | xargs sha256sum > SHA256SUMS && cat SHA256SUMS)
echo "built twice, byte for byte the same, with $(rustc --version)"
if [ -n "$snapshot" ]; then
    echo "$out: a snapshot of commit ${commit:0:12}, without a tag"
else
    [ -n "$tagged" ] || git tag -a "$tag" -m "vsnd $version"
    echo "$out: version $version, tag $tag on commit ${commit:0:12} (git push origin $tag publishes it)"
fi
