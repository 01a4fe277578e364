# What a desktop has between applications and the card: a sound server, and a mixer on the screen (DRIVER=vsnd: with the
# stock driver PulseAudio rewinds what the host has already).
# shellcheck shell=sh

scenario_desktop() {
    world
    cat /lab/guest.cpio /lab/desktop.cpio > /run/lab/desktop.cpio
    GUEST_RAMDISK=/run/lab/desktop.cpio GUEST_MB=280 guest_start a
    rm /run/lab/desktop.cpio
    sound="--raw --rate=48000 --format=s16le --channels=2"
    must_run a "vsnd-lab make --frames 192000 --seed 90 /run/lab/90.raw && with_pulse pacat $sound /run/lab/90.raw" 60
    heard a 0-0 90 --frames 192000 --late
    note "played through PulseAudio: $COMPARED"
    must_run a "with_pulse timeout -s INT 4 parecord $sound > /run/lab/recorded.raw
        vsnd-lab compare --from-any --frames 480000 --at-least 96000 --seed 100 /run/lab/recorded.raw" 60
    note "recorded through PulseAudio: $OUTPUT"
    guest_run a "on_screen alsamixer -c 0 -V all"
    gain=$(tr -s '\033' '\n' < "$GUEST_LOGS/guest-a.log" | grep -o 'PCM \[dB gain: [^]]*\]' | head -n 1)
    [ -n "$gain" ] || fail "alsamixer shows no PCM: $(tail -c 300 "$GUEST_LOGS/guest-a.log" | tr -dc ' -~')"
    note "alsamixer: $gain"
    guest_stop a
}
