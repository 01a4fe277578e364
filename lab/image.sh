#!/bin/bash
# Builds the two initrds of a platform, target/lab/images/PLATFORM/dom0.cpio: busybox, Debian's Xen, ALSA and kernel
# modules from the cache, our programs, and the scripts of this directory. The guest's lies within dom0's.
# usage: image.sh PLATFORM DIRECTORY-OF-OUR-PROGRAMS
# environment: LAB_SMALL=1 (only what scenarios of short runs need), LAB_BENCH=1 (dom0 has vsnd-bench), LAB_RACE=1 (guests have drivers for cards that QEMU emulates),
# OTHER_BACKEND=program (dom0 has this other backend of the same protocol, for comparison)
set -euo pipefail
export PATH=$PATH:/sbin

lab=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lab/platform.sh
. "$lab/platform.sh"
platform "$1"
ours=$2
image=$out/images/$1
small=${LAB_SMALL:-}
libraries=$programs/usr/lib/$triplet

dom0_modules="xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs $bus 9pnet_virtio 9p snd-aloop"
# Card for measurements, which Debian's kernels have only on x86.
[ "$arch" != amd64 ] || dom0_modules="$dom0_modules snd-dummy"
guest_modules="xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs snd_xen_front snd-aloop"
# Cards that QEMU emulates.
[ -z "${LAB_RACE:-}" ] || guest_modules="$guest_modules snd-hda-codec-generic snd-hda-intel snd-intel8x0 virtio_snd"

release_of() { cat "$cache/kernel-$1/release"; }

# our_module: path of our module for the guests' kernel; a guest loads it on request. The lab also runs without it.
our_module() {
    local directory
    for directory in "$(release_of "$guest_kernel")" "$guest_kernel"; do
        directory=$(dirname "$lab")/target/module/$directory
        # The names of the directories of Debian's series contain no architecture, so check the module's kernel.
        [ ! -e "$directory/vsnd_front.ko" ] ||
            [ "$(modinfo -F vermagic "$directory/vsnd_front.ko" | cut -d' ' -f1)" != "$(release_of "$guest_kernel")" ] || {
            echo "$directory/vsnd_front.ko"
            return
        }
    done
}

# add ROOT FILE [PLACE]: adds a program with its shared libraries, found by its header, since programs of other
# architectures cannot be run.
add() {
    local root=$1 file=$2 library found
    install -D -m755 "$file" "$root${3:-/bin/$(basename "$file")}"
    for library in $(readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
        # Skip the loader, and plugins that are already loaded.
        case $library in ld-linux* | libpipewire-module-*) continue ;; esac
        [ ! -e "$root/lib/$library" ] || continue
        found=$(find "$libraries" "$libraries/pulseaudio" "$programs"/usr/lib/pulse-*/modules -maxdepth 1 -name "$library" 2> /dev/null | head -n1 || true)
        [ -n "$found" ] || { echo "$file needs $library, which is not among the lab's packages" >&2; exit 1; }
        add "$root" "$found" "/lib/$library"
    done
}

# add_modules ROOT KERNEL MODULE...: adds modules with their dependencies, uncompressed, since the kernel unpacks them
# slowly here.
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
        "${binutils}strip" --strip-debug "$place"
    done
    depmod -b "$root" "$release" 2>/dev/null
}

# base ROOT: files of both kinds of domain.
base() {
    local root=$1 name
    rm -rf "$root"
    mkdir -p "$root"/{bin,dev,etc,lab,lib,lib64,proc,run,sys,tmp,var/lib/xen,var/log/xen/console,usr/share}
    ln -s bin "$root/sbin"
    ln -s ../bin "$root/usr/bin"
    ln -s ../bin "$root/usr/sbin"
    ln -s ../run "$root/var/run"
    cp "$programs/usr/bin/busybox" "$root/bin/busybox"
    # busybox makes the other links itself when a domain starts.
    ln -s busybox "$root/bin/sh"
    install -D -m755 "$libraries/$(basename "$loader")" "$root$loader"
    echo 'root:x:0:0:root:/:/bin/sh' > "$root/etc/passwd"
    printf 'root:x:0:\naudio:x:29:\n' > "$root/etc/group"
    for name in ls read write list watch chmod rm; do
        add "$root" "$programs/usr/bin/xenstore-$name"
    done
    add "$root" "$ours/vsnd-lab"
    add "$root" "$programs/usr/bin/aplay"
    ln -s aplay "$root/bin/arecord"
    cp -r "$programs/usr/share/alsa" "$root/usr/share/"
    install -D -m644 -t "$root/usr/share/sounds/alsa" "$programs/usr/share/sounds/alsa/Front_Center.wav"
    cp "$lab/common.sh" "$root/lab/"
    echo "GUEST_TYPE=$guest_type BUS=$bus" > "$root/lab/platform"
}

pack() {
    find "$1/bin" -name 'vsnd*' -exec "${binutils}strip" {} +
    (cd "$1" && find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc --quiet) > "$2"
}

mkdir -p "$image"
guest=$image/guest
base "$guest"
# shellcheck disable=SC2086  # a list of words
add_modules "$guest" "$guest_kernel" $guest_modules
rm -f "$image/module"
module=$(our_module)
if [ -n "$module" ]; then
    release=$(release_of "$guest_kernel")
    # The module needs ALSA's modules, which are there already for the stock driver.
    cp "$module" "$guest/lib/modules/$release/"
    "${binutils}strip" --strip-debug "$guest/lib/modules/$release/vsnd_front.ko"
    depmod -b "$guest" "$release" 2>/dev/null
    ln -sf "$module" "$image/module"
fi
for name in amixer axfer speaker-test; do
    add "$guest" "$programs/usr/bin/$name"
done
install -m644 -t "$guest/usr/share/sounds/alsa" "$programs"/usr/share/sounds/alsa/Front_{Left,Right}.wav
if [ -z "$small" ]; then
    for name in vsnd vsndd vsnd-lab-hostile; do add "$guest" "$ours/$name"; done
fi
cp "$lab"/guest/* "$guest/lab/"
install -m755 "$lab/guest/init" "$guest/init"

# Additional files of a guest with a desktop: a second initrd after the first. Dom0 unpacks it for its own sound server.
more=$image/desktop
add_desktop() {
    local name file
    mkdir -p "$more/bin"
    for name in pulseaudio pactl pacat; do
        add "$more" "$programs/usr/bin/$name"
    done
    ln -s pacat "$more/bin/parecord"
    for file in "$programs"/usr/lib/pulse-*/modules/{module-{alsa-sink,alsa-source,null-sink},module-native-protocol-unix,libalsa-util,libprotocol-native}.so; do
        add "$more" "$file" "/lib/pulse/$(basename "$file")"
    done
    add "$more" "$programs/usr/bin/alsamixer"
    install -D -m644 "$(find "$programs"/usr/{lib,share}/terminfo/l/linux 2> /dev/null | head -n1)" "$more/lib/terminfo/l/linux"
}
rm -rf "$more"
[ -n "$small" ] || add_desktop

# PipeWire and its session manager, which dom0 unpacks or gives to a guest.
pipewire=$image/pipewire
add_pipewire() {
    local name file
    for name in pipewire wireplumber pw-record; do
        add "$pipewire" "$programs/usr/bin/$name"
    done
    for file in "$libraries"/pipewire-0.3/libpipewire-module-{access,adapter,client-device,client-node,link-factory,metadata}.so \
        "$libraries"/pipewire-0.3/libpipewire-module-{protocol-native,session-manager,spa-node-factory}.so \
        "$libraries"/spa-0.2/{support/libspa-support,audioconvert/libspa-audioconvert,alsa/libspa-alsa}.so "$libraries"/wireplumber-0.*/*.so; do
        add "$pipewire" "$file" "${file#"$programs"}"
    done
    ln -s pw-record "$pipewire/bin/pw-play"
    install -D -m644 -t "$pipewire/usr/share/pipewire" "$programs"/usr/share/pipewire/client*.conf
    mkdir -p "$pipewire/usr/share/wireplumber"
    cp -r "$programs"/usr/share/wireplumber/scripts "$pipewire/usr/share/wireplumber/"
    install -D -m644 -t "$pipewire/etc/pipewire" "$lab"/../crates/sound-servers/src/{wireplumber.conf,vsnd.lua}
}
rm -rf "$pipewire"
[ -n "$small" ] || add_pipewire

# The rest of a desktop's session, for a guest that has the files above: PipeWire and its session manager as Debian
# configures them, their tools, and udev, which tells them of cards.
session=$image/session
add_session() {
    local name file
    mkdir -p "$session/lib/udev/rules.d" "$session/usr/share"
    for name in pw-cli pw-dump pw-metadata pw-top wpctl udevadm; do
        add "$session" "$programs/usr/bin/$name"
    done
    ln -s udevadm "$session/bin/systemd-udevd"
    cp "$programs"/usr/lib/udev/rules.d/{50-udev-default,60-persistent-alsa,78-sound-card,90-pipewire-alsa,90-pulseaudio}.rules \
        "$session/lib/udev/rules.d/"
    for file in "$libraries"/pipewire-0.3/libpipewire-module-{profiler,protocol-pulse,rt,spa-device,spa-device-factory}.so \
        "$libraries"/spa-0.2/{audiomixer/libspa-audiomixer,support/libspa-dbus}.so; do
        add "$session" "$file" "${file#"$programs"}"
    done
    cp -r "$programs"/usr/share/{alsa-card-profile,pipewire,wireplumber} "$session/usr/share/"
    # As the module's package installs them.
    local ours=$lab/../linux/desktop mixer=$session/usr/share/alsa-card-profile/mixer
    install -m644 -t "$session/lib/udev/rules.d" "$ours/90-vsnd.rules"
    install -m644 -t "$mixer/profile-sets" "$ours/vsnd.conf"
    install -m644 -t "$mixer/paths" "$ours/vsnd-output.conf"
    install -D -m644 "$lab/guest/wireplumber.lua" "$session/etc/wireplumber/main.lua.d/51-lab.lua"
    # Bluetooth needs a system bus.
    sed -i '/bluetooth.lua/d' "$session/usr/share/wireplumber/wireplumber.conf"
    # Files that the guest has already.
    for name in "$guest"/lib/*.so* "$pipewire"/lib/*.so*; do rm -f "$session/lib/$(basename "$name")"; done
}
rm -rf "$session"
[ -n "$small" ] || [ "$debian" != 12 ] || add_session

# Applications that use ALSA in their own ways, for a guest: a second initrd, without the files of the first one.
applications=$image/applications
add_applications() {
    add "$applications" "$programs/usr/bin/alsaloop"
    local programs=$cache/applications libraries=$cache/applications/usr/lib/$triplet name
    add "$applications" "$programs/usr/bin/mpg123.bin" /bin/mpg123
    for name in sox gst-launch-1.0; do add "$applications" "$programs/usr/bin/$name"; done
    for name in sox/libsox_fmt_alsa mpg123/output_{alsa,portaudio} gstreamer-1.0/libgst{alsa,audioconvert,coreelements,rawparse}; do
        add "$applications" "$libraries/$name.so" "/usr/lib/$triplet/$name.so"
    done
    for name in "$guest"/lib/*.so*; do rm -f "$applications/lib/$(basename "$name")"; done
    install -D -m644 -t "$applications/usr/share/sounds" "$lab/../apps/vsnd/tests/cli/sounds/tone.mp3"
}
rm -rf "$applications"
[ -n "$small" ] || [ ! -d "$cache/applications" ] || add_applications

dom0=$image/dom0
base "$dom0"
# shellcheck disable=SC2086
add_modules "$dom0" "$dom0_kernel" $dom0_modules
add "$dom0" "$ours/vsndd"
if [ -z "$small" ]; then
    for name in vsnd vsnd-lab-liar vsnd-lab-other; do add "$dom0" "$ours/$name"; done
fi
[ -z "${LAB_BENCH:-}" ] || add "$dom0" "$ours/vsnd-bench"
[ -z "${OTHER_BACKEND:-}" ] || add "$dom0" "$OTHER_BACKEND" /bin/other-backend
# A guest without an operating system, a kernel of its own.
beep=$(dirname "$lab")/target/beep/$bare/release/beep
[ ! -e "$beep" ] || cp "$beep" "$dom0/lab/beep"
xen_programs=/usr/lib/xen-$xen/bin
for name in xl xenstored xenstore-control xenconsoled xen-init-dom0 libxl-save-helper xenconsole init-dom0less; do
    # Not every architecture has all programs.
    [ ! -e "$programs$xen_programs/$name" ] || add "$dom0" "$programs$xen_programs/$name" "$xen_programs/$name"
done
# xl needs this library to unwind its threads, and loads it only then.
add "$dom0" "$libraries/libgcc_s.so.1" /lib/libgcc_s.so.1
echo 'vsnd:x:200:201:vsndd:/:/bin/false' >> "$dom0/etc/passwd"
printf 'root:x:0:\naudio:x:29:vsnd\nvsnd:x:200:vsnd\nvsndd:x:201:\n' > "$dom0/etc/group"
mkdir -p "$dom0/etc/xen"
echo 'autoballoon="off"' > "$dom0/etc/xen/xl.conf"
cp -r "$lab"/dom0/* "$dom0/lab/"
# The manual, whose commands the scenario `manual` runs.
cp "$(dirname "$lab")/docs/xen.md" "$dom0/lab/"
install -m755 "$lab/dom0/init" "$dom0/init"
pack "$guest" "$dom0/lab/guest.cpio"
[ ! -d "$more" ] || pack "$more" "$dom0/lab/desktop.cpio"
[ ! -d "$pipewire" ] || pack "$pipewire" "$dom0/lab/pipewire.cpio"
[ ! -d "$session" ] || pack "$session" "$dom0/lab/session.cpio"
[ ! -d "$applications" ] || pack "$applications" "$dom0/lab/applications.cpio"
cp "$cache/kernel-$guest_kernel/vmlinux" "$dom0/lab/vmlinux"
if [ "$guest_type" = hvm ]; then
    # The device model of an HVM guest starts the kernel through a BIOS.
    add "$dom0" "$programs/usr/libexec/xen-qemu-system-i386" /usr/libexec/xen-qemu-system-i386
    install -D -m644 -t "$dom0/usr/lib/xen-$xen/boot" "$programs/usr/lib/xen-$xen/boot/hvmloader"
    install -D -m644 -t "$dom0/usr/share/seabios" "$programs/usr/share/seabios/bios-256k.bin"
    install -D -m644 -t "$dom0/usr/share/qemu" "$programs"/usr/share/qemu/{linuxboot{,_dma},kvmvapic}.bin
    install -D -m644 -t "$dom0/usr/share/qemu/keymaps" "$programs/usr/share/qemu/keymaps/en-us"
    cp "$cache/kernel-$guest_kernel/boot/vmlinuz-$(release_of "$guest_kernel")" "$dom0/lab/vmlinux"
fi
pack "$dom0" "$image/dom0.cpio"
ln -sf "$cache/kernel-$dom0_kernel/vmlinux" "$image/dom0.vmlinux"
ln -sf "$cache/xen" "$image/xen"
# On some platforms, Xen itself starts the guests. In the race, QEMU starts one with a desktop's session.
cp "$dom0/lab/guest.cpio" "$image/guest.cpio"
[ -z "${LAB_RACE:-}" ] || cat "$dom0"/lab/{guest,desktop,pipewire,session}.cpio > "$image/session.cpio"
ln -sf "$cache/kernel-$guest_kernel/vmlinux" "$image/guest.vmlinux"
rm -rf "$guest" "$more" "$pipewire" "$session" "$applications" "$dom0"
