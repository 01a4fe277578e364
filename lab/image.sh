#!/bin/bash
# Builds the two initrds of a kernel, target/lab/images/KERNEL/dom0.cpio: busybox, Debian's Xen, ALSA and kernel
# modules from the cache, our programs, and the scripts of this directory. The guest's lies within dom0's.
# usage: image.sh KERNEL DIRECTORY-OF-OUR-PROGRAMS
# environment: LAB_BENCH=1 (dom0 has vsnd-bench)
set -euo pipefail
export PATH=$PATH:/sbin

kernel=$1 ours=$2
lab=$(cd "$(dirname "$0")" && pwd)
out=$(dirname "$lab")/target/lab
cache=$out/cache
programs=$cache/programs desktop=$cache/desktop
# The kernel `debug` is the guests' only.
dom0_kernel=${kernel/debug/6.12}
libraries=$programs/usr/lib/x86_64-linux-gnu
desktop_libraries=$desktop/usr/lib/x86_64-linux-gnu

dom0_modules="xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs virtio_pci 9pnet_virtio 9p snd-aloop snd-dummy"
guest_modules="xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs snd_xen_front snd-aloop"
# Our module for this kernel, which a guest loads when it is asked to; the lab runs without it as well.
our_module=$(dirname "$lab")/target/module/$kernel/vsnd_front.ko

# add ROOT FILE [PLACE]: a program with the shared libraries it needs.
add() {
    local root=$1 file=$2 library
    install -D -m755 "$file" "$root${3:-/bin/$(basename "$file")}"
    LD_LIBRARY_PATH=$libraries:$desktop_libraries:$desktop_libraries/pulseaudio:$desktop/lib/x86_64-linux-gnu \
        ldd "$file" 2>/dev/null | grep -o '/[^ ]*' | sort -u | while read -r library; do
        case $library in
            */ld-linux*) install -D -m755 "$(readlink -f "$library")" "$root/lib64/$(basename "$library")" ;;
            *) install -D -m755 "$(readlink -f "$library")" "$root/lib/$(basename "$library")" ;;
        esac
    done
}

release_of() { cat "$cache/kernel-$1/release"; }

# add_modules ROOT KERNEL MODULE...: the modules, uncompressed (what unpacks them in the kernel is slow here), with their dependencies.
add_modules() {
    local root=$1 kernel=$2 release name file place
    release=$(release_of "$kernel")
    shift 2
    for name in "$@"; do
        modprobe -d "$cache/kernel-$kernel" -S "$release" --show-depends "$name"
    done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u | while read -r file; do
        place=$root/lib/modules/$release/$(basename "${file%.xz}")
        mkdir -p "$(dirname "$place")"
        case $file in
            *.xz) xz -dc "$file" > "$place" ;;
            *) cp "$file" "$place" ;;
        esac
        strip --strip-debug "$place"
    done
    depmod -b "$root" "$release" 2>/dev/null
}

# What both kinds of domain have.
base() {
    local root=$1 name
    rm -rf "$root"
    mkdir -p "$root"/{bin,dev,etc,lab,lib,lib64,proc,run,sys,tmp,var/lib/xen,var/log/xen/console,usr/share}
    ln -s bin "$root/sbin"
    ln -s ../bin "$root/usr/bin"
    ln -s ../bin "$root/usr/sbin"
    ln -s ../run "$root/var/run"
    cp "$programs/bin/busybox" "$root/bin/busybox"
    "$root/bin/busybox" --list | while read -r name; do ln -sf busybox "$root/bin/$name"; done
    rm "$root/bin/busybox" && cp "$programs/bin/busybox" "$root/bin/busybox"
    echo 'root:x:0:0:root:/:/bin/sh' > "$root/etc/passwd"
    printf 'root:x:0:\naudio:x:29:\n' > "$root/etc/group"
    for name in ls read write list watch chmod rm; do
        add "$root" "$programs/usr/bin/xenstore-$name"
    done
    for name in vsnd vsndd vsnd-lab; do
        add "$root" "$ours/$name"
    done
    add "$root" "$programs/usr/bin/aplay"
    ln -s aplay "$root/bin/arecord"
    cp -r "$programs/usr/share/alsa" "$root/usr/share/"
    install -D -m644 -t "$root/usr/share/sounds/alsa" "$programs/usr/share/sounds/alsa/Front_Center.wav"
    cp "$lab/common.sh" "$root/lab/"
}

pack() {
    find "$1/bin" -name 'vsnd*' -exec strip {} +
    (cd "$1" && find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc --quiet) > "$2"
}

mkdir -p "$out/images/$kernel"
guest=$out/images/$kernel/guest
base "$guest"
# shellcheck disable=SC2086  # a list of words
add_modules "$guest" "$kernel" $guest_modules
if [ -e "$our_module" ]; then
    release=$(release_of "$kernel")
    # It brings ALSA's modules along, which the stock driver needs as well.
    cp "$our_module" "$guest/lib/modules/$release/"
    strip --strip-debug "$guest/lib/modules/$release/vsnd_front.ko"
    depmod -b "$guest" "$release" 2>/dev/null
fi
for name in amixer axfer speaker-test; do
    add "$guest" "$programs/usr/bin/$name"
done
install -m644 -t "$guest/usr/share/sounds/alsa" "$programs"/usr/share/sounds/alsa/Front_{Left,Right}.wav
add "$guest" "$ours/vsnd-lab-hostile"
cp "$lab"/guest/* "$guest/lab/"
install -m755 "$lab/guest/init" "$guest/init"

# What a guest has beside this that is a desktop: a second initrd behind the first. Dom0 unpacks it for its own sound server.
more=$out/images/$kernel/desktop
rm -rf "$more" && mkdir -p "$more/bin"
for name in pulseaudio pactl pacat; do
    add "$more" "$desktop/usr/bin/$name"
done
ln -s pacat "$more/bin/parecord"
for file in "$desktop"/usr/lib/pulse-*/modules/{module-{alsa-sink,alsa-source,null-sink},module-native-protocol-unix,libalsa-util,libprotocol-native}.so; do
    add "$more" "$file" "/lib/pulse/$(basename "$file")"
done
add "$more" "$programs/usr/bin/alsamixer"
install -D -m644 "$desktop/lib/terminfo/l/linux" "$more/lib/terminfo/l/linux"

# PipeWire and its session manager are this machine's, for the tests need them as well. Dom0 unpacks them, or gives them to a guest.
pipewire=$out/images/$kernel/pipewire system=/usr/lib/x86_64-linux-gnu
rm -rf "$pipewire"
for name in pipewire wireplumber pw-record; do
    add "$pipewire" "/usr/bin/$name"
done
for file in $system/pipewire-0.3/libpipewire-module-{access,adapter,client-device,client-node,link-factory,metadata}.so \
    $system/pipewire-0.3/libpipewire-module-{protocol-native,session-manager,spa-node-factory}.so \
    $system/spa-0.2/{support/libspa-support,audioconvert/libspa-audioconvert,alsa/libspa-alsa}.so $system/wireplumber-0.4/*.so; do
    add "$pipewire" "$file" "$file"
done
ln -s pw-record "$pipewire/bin/pw-play"
install -D -m644 -t "$pipewire/usr/share/pipewire" /usr/share/pipewire/client{,-rt}.conf
install -D -m644 -t "$pipewire/usr/share/wireplumber/scripts" /usr/share/wireplumber/scripts/*.lua
install -D -m644 -t "$pipewire/etc/pipewire" "$lab"/../crates/sound-servers/src/{wireplumber.conf,vsnd.lua}

dom0=$out/images/$kernel/dom0
base "$dom0"
# shellcheck disable=SC2086
add_modules "$dom0" "$dom0_kernel" $dom0_modules
add "$dom0" "$ours/vsnd-lab-liar"
[ -z "${LAB_BENCH:-}" ] || add "$dom0" "$ours/vsnd-bench"
for name in xl xenstored xenstore-control xenconsoled xen-init-dom0 libxl-save-helper xenconsole; do
    add "$dom0" "$programs/usr/lib/xen-4.17/bin/$name" "/usr/lib/xen-4.17/bin/$name"
done
# xl unwinds its threads with it, and only asks for it then.
add "$dom0" /lib/x86_64-linux-gnu/libgcc_s.so.1 /lib/libgcc_s.so.1
echo 'vsnd:x:200:201:vsndd:/:/bin/false' >> "$dom0/etc/passwd"
printf 'root:x:0:\naudio:x:29:vsnd\nvsnd:x:200:vsnd\nvsndd:x:201:\n' > "$dom0/etc/group"
mkdir -p "$dom0/etc/xen"
echo 'autoballoon="off"' > "$dom0/etc/xen/xl.conf"
cp -r "$lab"/dom0/* "$dom0/lab/"
# The manual, whose commands the scenario `manual` runs.
cp "$(dirname "$lab")/docs/xen.md" "$dom0/lab/"
install -m755 "$lab/dom0/init" "$dom0/init"
pack "$guest" "$dom0/lab/guest.cpio"
pack "$more" "$dom0/lab/desktop.cpio"
pack "$pipewire" "$dom0/lab/pipewire.cpio"
cp "$cache/kernel-$kernel/vmlinux" "$dom0/lab/vmlinux"
pack "$dom0" "$out/images/$kernel/dom0.cpio"
ln -sf "$cache/kernel-$dom0_kernel/vmlinux" "$out/images/$kernel/dom0.vmlinux"
rm -rf "$guest" "$more" "$pipewire" "$dom0"
