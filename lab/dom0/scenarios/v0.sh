# Protocol version 0 on a real hypervisor: our guest in user space against the daemon, beside a guest of version 2.
# shellcheck shell=sh

# Two cards of one stream each, as xl can describe them; that they speak version 0 has to be said.
V0_CARDS="[['CARD, short-name=Out', 'PCM, name=main', 'STREAM, unique-id=p0, type=p'],
    ['CARD, short-name=In', 'PCM, name=main', 'STREAM, unique-id=c0, type=c']]"

# v0_world GUEST...: a daemon that takes guest `old` for one of 2015, and these guests.
v0_world() {
    if daemon_lives; then daemon_kill; fi
    DAEMON_RULES='[[rule]]
domain = "old"
protocol = "v0"'
    daemon_start
    world "$@"
}

# Playback and capture, bit for bit and in real time; nodes as a guest of 2015 expects them.
scenario_v0() {
    v0_world b
    guest_start old "$V0_CARDS" lab.nodriver
    ours=/local/domain/0/backend/vsnd/$(guest_id old)/0
    [ "$(xenstore-read "$ours/stream_id")" = 0 ] || fail "no stream_id in $ours"
    if xenstore-read "$ours/versions" > /run/lab/versions 2>&1; then fail "$ours has versions"; fi
    must_run old "vsnd-lab make --frames 96000 --seed 60 /run/lab/60.wav &&
        began=\$(now_ms) && vsnd play --card 0 /run/lab/60.wav && echo took \$((\$(now_ms) - began))"
    took=$(echo "$OUTPUT" | sed -n 's/^took //p')
    [ "$took" -ge 1900 ] || fail "2 s were played in $took ms"
    heard old 0-0 60
    note "vsnd play: $COMPARED, in $took ms"
    must_run old "vsnd record --card 1 --frames 96000 /run/lab/r.wav && vsnd-lab compare --seed 100 /run/lab/r.wav"
    note "vsnd record: $(echo "$OUTPUT" | tail -n1)"
    guest_begin old "vsnd play --card 0 /run/lab/60.wav"
    must_run b "play 0,0 61"
    heard b 0-0 61
    note "a guest of version 2 meanwhile: $COMPARED"
    guest_wait old 20 || fail "vsnd play: $OUTPUT"
    heard old 0-0 60
    must_run old "vsnd play --card 0 --mute /run/lab/60.wav"
    silent old 0-0
    note "muted: silent"
    guest_stop old
    daemon_kill
}

# The daemon is killed while a guest plays: the next one is found, and all but the lead is heard.
scenario_v0killed() {
    v0_world
    guest_start old "$V0_CARDS" lab.nodriver
    guest_begin old "vsnd-lab make --frames 240000 --seed 62 /run/lab/62.wav && vsnd play --card 0 /run/lab/62.wav"
    soon 20 [ -s "$WAVS/$(guest_id old)-0-0-0.wav" ] || fail "nothing is played"
    sleep 1
    daemon_kill KILL
    daemon_start
    guest_wait old 30 || fail "vsnd play: $OUTPUT"
    octets=0
    for file in "$WAVS/$(guest_id old)"-0-0-0*.wav; do octets=$((octets + $(wc -c < "$file") - 44)); done
    lost=$((240000 * 4 - octets))
    [ $lost -ge 0 ] && [ $lost -le 28800 ] || fail "$lost octets of 960000 are missing"
    note "played on with the next daemon, $((lost / 192)) ms were lost with the last"
    guest_stop old
    daemon_kill
}

# Our driver in the guest speaks version 0, too: bit for bit and in real time, through read, write and mmap.
scenario_v0module() {
    v0_world
    guest_start old "$V0_CARDS"
    must_run old "soon 10 [ -e /proc/asound/card1/pcm0c ]; cat /proc/asound/cards; cat /proc/asound/card0/virtualcard_pcm"
    note "$(echo "$OUTPUT" | grep -v '^$' | tr -s ' \n' ' ')"
    must_run old "began=\$(now_ms) && play 0,0 70 && echo took \$((\$(now_ms) - began))"
    took=$(echo "$OUTPUT" | sed -n 's/^took //p')
    [ "$took" -ge 1800 ] || fail "2 s were played in $took ms"
    heard old 0-0 70
    note "aplay: $COMPARED, in $took ms"
    must_run old "play 0,0 71 96000 s16_le 48000 2 -M --period-size=240 --buffer-size=960"
    heard old 0-0 71
    note "aplay -M, periods of 5 ms: $COMPARED"
    must_run old "arecord -q -D hw:1,0 -t raw -f S16_LE -r 48000 -c 2 -s 96000 /run/lab/r.raw &&
        vsnd-lab compare --frames 96000 --seed 100 /run/lab/r.raw"
    note "arecord: $(echo "$OUTPUT" | tail -n1)"
    must_run old "sed -n 1,8p /proc/asound/card0/vsnd"
    note "$(echo "$OUTPUT" | tr -s ' \n' ' ')"
    must_run old no_complaints
    guest_stop old
    daemon_kill
}
