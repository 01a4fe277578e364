#!/bin/bash
# Makes the pictures of docs/pictures: top.svg, the screen of `vsnd top` beside a daemon and three guests that play and record, on the
# emulated Xen; way-of-a-frame.svg, from its text.
# usage: pictures.sh      (the programs are those of target/release)
set -euo pipefail

cd "$(dirname "$0")/.."
PATH=$PWD/target/release:$PATH
work=$(mktemp -d)
export VSND_XEN=emu:$work/xen XENSTORED_PATH=$work/xen/xenstored.sock
processes=()
terminal() { tmux -L "vsnd-pictures-$$" "$@"; }
finish() {
    terminal kill-server 2>/dev/null || true
    [ ${#processes[@]} = 0 ] || kill "${processes[@]}" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap finish EXIT

vsnd emu > "$work/emu.log" &
processes+=($!)
guest() {
    vsnd emu attach --domain "$1" "vsnd=[['CARD, short-name=$3', 'PCM, name=$3', 'STREAM, unique-id=out, type=p', 'STREAM, unique-id=in, type=c']]"
    xenstore-write "/local/domain/$1/name" "$2"
}
guest 1 studio Main
guest 2 browser Card
guest 3 phone Headset
vsndd --sink null --source null --allow-capture > "$work/vsndd.log" 2>&1 &
processes+=($!)
sounds=/usr/share/sounds/alsa
# again FILE: the sound of a WAV file with a header of 44 bytes again and again, as a stream without an end.
again() {
    head -c 40 "$1"
    printf '\377\377\377\377'
    while tail -c +45 "$1"; do :; done
}
again $sounds/Noise.wav 2> /dev/null | vsnd play --domain 1 - > /dev/null 2>&1 &
processes+=($!)
again $sounds/Front_Center.wav 2> /dev/null | vsnd play --domain 2 - > /dev/null 2>&1 &
processes+=($!)
vsnd record --domain 3 "$work/recorded.wav" > /dev/null 2>&1 &
processes+=($!)
sleep 2
vsnd volume browser =-6dB > /dev/null
terminal new-session -d -x 110 -y 20 "exec env LANG=C.UTF-8 TERM=tmux-256color vsnd top"
sleep 5
terminal capture-pane -e -p > "$work/screen"
grep -q studio "$work/screen" || { cat "$work/screen"; exit 1; }
# drawn NAME: what stands on standard input.
drawn() {
    cargo run --quiet --release --locked -p vsnd-bench --example screen > "docs/pictures/$1.svg"
    echo "docs/pictures/$1.svg"
}
drawn top < "$work/screen"
drawn way-of-a-frame < docs/pictures/way-of-a-frame.txt
