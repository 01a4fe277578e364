#!/bin/bash
# Packages of any Debian and architecture without installing them: an apt with lists, cache and state of its own. The packages come
# from where this machine's come from.
# usage: apt.sh DIRECTORY ARCHITECTURE CODENAME     makes it, where it is not there yet; then: apt-get -c DIRECTORY/apt.conf ...
#        apt.sh unpack ROOT DEB...                  unpacks packages below ROOT, their documentation not
#        apt.sh kernel DIRECTORY SERIES FLAVOUR     prints the newest release of a kernel series that the apt in DIRECTORY knows, of all
#                                                   series for `newest`; FLAVOUR is an architecture, or one with `-16k`
#        apt.sh update DIRECTORY                    fetches the package lists again
set -euo pipefail

# servers DIRECTORY: where the apt in a directory has its packages from.
servers() { awk '{ print $(NF - 2) }' "$1/sources.list" | sort -u | paste -sd ' '; }

# update DIRECTORY CONFIGURATION: a list that cannot be fetched is an error, since its newer packages would be missing silently.
update() {
    apt-get -c "$1/$2" update -qq -o APT::Update::Error-Mode=any ||
        { echo "the package lists cannot be fetched from $(servers "$1")" >&2; exit 1; }
}

if [ "$1" = update ]; then
    update "$2" apt.conf
    exit
fi

if [ "$1" = unpack ]; then
    root=$2
    shift 2
    # As on an installed Debian: one place for programs, one for libraries.
    mkdir -p "$root"/usr/{bin,sbin,lib,lib64}
    for name in bin sbin lib lib64; do
        ln -sfn "usr/$name" "$root/$name"
    done
    for deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --keep-directory-symlink --no-same-owner \
            --exclude './usr/share/doc' --exclude './usr/share/man' --exclude './usr/share/locale'
    done
    exit
fi

if [ "$1" = kernel ]; then
    conf=$2/apt.conf series=$3 flavour=$4
    pattern=${series/newest/[0-9]*}
    # Without the backports, a Debian's own kernel would be taken for the newest one.
    [ "$series" != newest ] || [[ $(apt-cache -c "$conf" madison "linux-image-$flavour" 2> /dev/null) == *-backports/* ]] || {
        echo "no kernel of the backports for $flavour: $(servers "$2") does not have one" >&2
        exit 1
    }
    # A Debian names its own series in the first, those of its backports in either. apt-cache fails where it does not have one.
    release=$({ apt-cache -c "$conf" show "linux-image-$flavour" "linux-image-$series-$flavour" 2> /dev/null || true; } |
        sed -n 's/^Depends:.*linux-image-\([0-9][^ ,]*\).*/\1/p' | sort -V | sed -n "/^${pattern//./\\.}\./h; \${x;p}")
    [ -n "$release" ] || { echo "no kernel $series for $flavour: $(servers "$2") does not have one" >&2; exit 1; }
    echo "$release"
    exit
fi

directory=$1 architecture=$2 codename=$3
# It names its own place: one that was moved or copied with the project would use the old place.
if [ -e "$directory/apt.conf" ]; then
    ! grep -qF "\"$(cd "$directory" && pwd)/etc\"" "$directory/apt.conf" || exit 0
    rm -rf "$directory"
fi
mkdir -p "$directory.new"/{etc/preferences.d,lists/partial,cache/archives/partial}
directory=$(cd "$directory.new" && pwd)
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
keys=/usr/share/keyrings/debian-archive-keyring.gpg
: > "$directory/status"
# shellcheck disable=SC2016  # apt's own
apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | sort -u | while read -r place suite; do
    case $codename-$suite in
        sid-"$own") echo "deb [signed-by=$keys] $place sid main" ;;
        sid-*) ;;
        *-"$own")
            echo "deb [signed-by=$keys] $place $codename main"
            # The newest kernels.
            echo "deb [signed-by=$keys] $place $codename-backports main"
            ;;
        *-"$own"-*) echo "deb [signed-by=$keys] $place $codename${suite#"$own"} main" ;;
    esac
done > "$directory/sources.list"
[ -s "$directory/sources.list" ] || { echo "this machine's apt does not say where it has Debian's packages from: run apt-get update" >&2; exit 1; }
final=${directory%.new}
cat > "$directory/apt.conf" << END
Dir::Etc "$final/etc";
Dir::Etc::sourcelist "$final/sources.list";
Dir::Etc::sourceparts "-";
Dir::State "$final";
Dir::State::status "$final/status";
Dir::Cache "$final/cache";
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
// Without root, apt would try to become another user first.
APT::Sandbox::User "root";
Acquire::Languages "none";
END
sed "s#$final/#$directory/#; s#\"$final\"#\"$directory\"#" "$directory/apt.conf" > "$directory/update.conf"
echo "Fetching the package lists of $codename for $architecture"
update "$directory" update.conf
rm "$directory/update.conf"
mv "$directory" "$final"
