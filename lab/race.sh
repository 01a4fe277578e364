#!/bin/bash
# The race: costs and quality of sound for a guest, with our driver, with Linux's own, and with the cards that QEMU
# emulates. Prints a table and draws a picture; their data are in target/lab/race/results, in lines of GUEST HOST ROW
# NAME VALUE.
# environment: that of run.sh; OTHER_BACKEND=program is measured beside the daemon; RACE_SECONDS (200) for each stream
# of an emulated card.
set -euo pipefail

lab=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lab/platform.sh
. "$lab/platform.sh"
platform 6.12
race=$out/race results=$out/race/results
rm -rf "$race" && mkdir -p "$race"
export LAB_RACE=1 LAB_LIMIT=${LAB_LIMIT:-3600} KERNEL=6.12

# If this script ends, run.sh ends, too.
DRIVER="vsnd stock" setpriv --pdeathsig TERM "$lab/run.sh" bench_race >&2
for driver in vsnd stock; do
    sed -E "s/^(vsndd|other)-/$driver \\1 /" "$out/6.12-$driver/share/bench"
done > "$results"

"$lab/fetch.sh" emulator >&2
emulator=$out/cache/amd64-13/emulator libraries=$out/cache/amd64-13/emulator/usr/lib/$triplet
# emulate CARD SOUND WORDS DEVICE...: runs the lab's guest in a machine without Xen. Here, too, time follows the
# executed instructions.
emulate() {
    local serial=$race/$1.serial sound=$2 words=$3
    shift 3
    setpriv --pdeathsig KILL timeout 3600 "$emulator$loader" --library-path "$libraries:$libraries/pulseaudio" \
        "$emulator/usr/bin/qemu-system-x86_64" -L "$emulator/usr/share/qemu" -L "$emulator/usr/share/seabios" \
        -accel tcg -cpu qemu64,+rdrand -smp 1 -m 768 -machine pc,hpet=off -icount shift=0,sleep=off -nodefaults -no-reboot -display none \
        -kernel "$out/images/6.12/guest.vmlinux" -initrd "$out/images/6.12/session.cpio" \
        -append "console=ttyS0 quiet loglevel=4 rdinit=/lab/emulated tsc=reliable mitigations=off random.trust_cpu=on $words" \
        -serial "file:$serial.log" -serial "file:$serial" -audiodev "$sound" "$@"
    grep -qx $'done\r' "$serial" && ! grep '^error' "$serial" || { echo "evidence: ${serial#"$(dirname "$lab")/"}.log" >&2; return 1; }
}

# card NAME DEVICE...: measures a card, and checks that it plays the given sound.
card() {
    local name=$1 heard=$race/$1.wav
    shift
    emulate "$name" "wav,id=a,out.frequency=48000,out.format=s16,out.channels=2,path=$heard" lab.heard "$@" 2> "$race/$name.log"
    echo "$name: $("${PROGRAMS:-$(dirname "$lab")/target/release}/vsnd-lab" compare --seed 7 --late "$heard")" >&2
    emulate "$name" none,id=a "lab.seconds=${RACE_SECONDS:-200}" "$@" \
        -trace 'memory_region_ops_*' -trace virtio_queue_notify -D >(awk -f "$lab/count-accesses.awk" > "$race/$name.accesses")
    wait
    { grep -E '^[a-z]+(-[a-z0-9]+)? [a-z-]+ [0-9.]+' "$race/$name.serial" | tr -d '\r'; cat "$race/$name.accesses"; } | sed "s/^/$name qemu /" >> "$results"
}
card virtio -device virtio-sound-pci,audiodev=a
card hda -device intel-hda -device hda-duplex,audiodev=a
card ac97 -device AC97,audiodev=a

awk -v "panels=$race/panels" -f "$lab/race.awk" "$results"
gnuplot -e "panels='$race/panels'" "$lab/race.gnuplot" > "$race/race.svg"
echo "picture: target/lab/race/race.svg"
