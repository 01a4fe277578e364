# A guest that is not Linux: examples/beep, which has nothing between it and Xen.
# shellcheck shell=sh

scenario_beep() {
    [ -e /lab/beep ] || fail "there was no examples/beep when dom0's initrd was built: make beep"
    world
    cat > /run/lab/beep.cfg << END
name = "beep"
type = "pvh"
kernel = "/lab/beep"
memory = 32
vcpus = 1
on_poweroff = "destroy"
on_crash = "destroy"
vsnd = $CARD
END
    rm -f "$GUEST_LOGS/guest-beep.log"
    xl create /run/lab/beep.cfg > /run/lab/beep-create.log 2>&1 || fail "xl create: $(tail -n1 /run/lab/beep-create.log)"
    soon 30 beep_ended || fail "beep has no end: $(beep_said)"
    beep_said "done" > /dev/null || fail "$(beep_said)"
    # One domain at a time is called so, and no other has played since.
    beep_played=$(echo "$WAVS"/*-0-0-0.wav)
    vsnd-lab compare --tone --frames 48000 "$beep_played" > /run/lab/compared 2>&1 ||
        fail "${beep_played#"$WAVS"/}: $(cat /run/lab/compared)"
    note "heard: $(cat /run/lab/compared)"
    vsnd-lab make --frames 48000 --seed 100 /run/lab/second.raw
    expected=$(crc32 /run/lab/second.raw)
    beep_said "recorded 48000 frames, crc32 ${expected%% *}, 0 xruns" > /dev/null ||
        fail "expected the first second of the source, crc32 ${expected%% *}: $(beep_said recorded)"
    beep_said "disconnected, 0 pages" > /dev/null || fail "$(beep_said disconnected)"
    note "it $(beep_said recorded)"
}

beep_ended() { beep_said '\(done\|failed\)' > /dev/null && ! xl domid beep > /dev/null 2>&1; }

# beep_said [PATTERN]: what stands behind its name on its console, all of it or the line that begins so.
beep_said() {
    sed -n "s/\r//; s/^.*beep: \(${1:-}.*\)/\1/p" "$GUEST_LOGS/guest-beep.log" | grep .
}
