# Operations of administrators with xl and modprobe.
# shellcheck shell=sh

scenario_hotplug() {
    world
    guest_start a ""
    xl vsnd-attach a "card, short-name=Plugged" "pcm, name=hot" "stream, unique-id=p, type=p" \
        > /run/lab/attach.log 2>&1 || fail "vsnd-attach: $(cat /run/lab/attach.log)"
    must_run a "soon 10 [ -e /proc/asound/card0/pcm0p ]; play 0,0 30"
    heard a 0-0 30
    note "attached: $COMPARED"
    xl vsnd-list a > /run/lab/list.log || fail "vsnd-list: status $?"
    note "vsnd-list: $(sed -n 's/  */ /g; 2p' /run/lab/list.log)"
    guest_run a "rmmod $(guest_module)" && fail "rmmod succeeds while a card exists"
    note "rmmod with a card: $(echo "$OUTPUT" | tail -n1)"
    xl vsnd-detach a 0 > /run/lab/detach.log 2>&1 || fail "vsnd-detach: $(cat /run/lab/detach.log)"
    must_run a "soon 10 [ ! -e /proc/asound/card0 ] && rmmod $(guest_module) && modprobe $(guest_module)"
    xl vsnd-attach a "card, short-name=Again" "pcm, name=hot" "stream, unique-id=p, type=p" ||
        fail "vsnd-attach again: status $?"
    must_run a "soon 10 [ -e /proc/asound/card0/pcm0p ]; play 0,0 31"
    heard a 0-0 31
    note "detached, module out and in, attached again: $COMPARED"
    # Only rings and event pages of one stream are mapped, and none of earlier streams.
    [ "$(for worker in $(workers); do grep gntdev "/proc/$worker/maps"; done | wc -l)" -lt 4 ] ||
        fail "the daemon still holds what was detached"
    guest_stop a
}

scenario_pause() {
    world a
    guest_begin a "play 0,0 32 192000"
    sleep 2
    xl pause a || fail "xl pause"
    sleep 2
    xl unpause a || fail "xl unpause"
    guest_wait a 20 || fail "aplay: $OUTPUT"
    heard a 0-0 32 --frames 192000 --gaps
    note "paused for 2 s while playing: $COMPARED"
}

# through_file GUEST: suspends a guest to a file and restores it.
through_file() {
    xl save "$1" /run/lab/saved > /run/lab/save.log 2>&1 || fail "xl save: $(tail -n1 /run/lab/save.log)"
    guest_forget "$1"
    xl restore /run/lab/saved > /run/lab/restore.log 2>&1 || fail "xl restore: $(tail -n1 /run/lab/restore.log)"
    rm -f /run/lab/saved
    guest_remember "$1"
}

# With our driver a player continues where it was. The stock driver does not support suspending: its behaviour is noted,
# and a new player must work.
scenario_restore() {
    world a
    must_run a "play 0,0 33"
    through_file a
    card_back a
    must_run a "play 0,0 34" 40
    heard a 0-0 34
    note "xl save and restore between two players, the second: $COMPARED"
    guest_begin a "play 0,0 35 240000"
    sleep 2
    first_file=$(newest "$WAVS/$(guest_id a)-0-0-0")
    through_file a
    if guest_wait a 30; then status=0; else status=$?; fi
    note "while playing: the player ends with status $status ($(echo "$OUTPUT" | tail -n1))"
    if [ "$(guest_module)" = vsnd_front ]; then
        [ $status = 0 ] && ! echo "$OUTPUT" | grep -q 'run!!!' || fail "it did not go on: $OUTPUT"
        goes_on a 35 240000 "$first_file"
    fi
    card_back a
    must_run a "play 0,0 36" 40
    heard a 0-0 36
    note "the next: $COMPARED"
    guest_stop a
}

# A guest without a sound driver in the kernel: our driver in user space.
scenario_own() {
    world
    guest_start a "$CARD" lab.nodriver
    must_run a "vsnd-lab make --seed 40 /run/lab/40.wav && vsnd play --stream 0 /run/lab/40.wav"
    heard a 0-0 40
    note "vsnd play: $COMPARED"
    must_run a "vsnd record --stream 3 --frames 96000 /run/lab/r.wav && vsnd-lab compare --seed 100 /run/lab/r.wav"
    note "vsnd record: $(echo "$OUTPUT" | tail -n1)"
    guest_stop a
}
