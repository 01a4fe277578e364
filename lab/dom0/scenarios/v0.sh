# Protocol version 0 on a real hypervisor: our driver in user space and our module, beside a guest of version 2.
# shellcheck shell=sh

# Two cards of one stream each, in a form that xl can describe; a rule of the daemon selects version 0.
V0_CARDS="[['CARD, short-name=Out', 'PCM, name=main', 'STREAM, unique-id=p0, type=p'],
    ['CARD, short-name=In', 'PCM, name=main', 'STREAM, unique-id=c0, type=c']]"

# v0_world GUEST...: starts a daemon that treats guest `old` as one of 2015, and these guests.
v0_world() {
    if daemon_lives; then daemon_kill; fi
    DAEMON_RULES='[[rule]]
domain = "old"
protocol = "v0"'
    daemon_start
    world "$@"
}

# Playback and capture, bit for bit and in real time, with the nodes that a guest of 2015 expects.
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

# The daemon is killed while a guest plays: the guest connects to the next one, and all frames but the lead are heard.
scenario_v0killed() {
    v0_world
    guest_start old "$V0_CARDS" lab.nodriver
    guest_begin old "vsnd-lab make --frames 240000 --seed 62 /run/lab/62.wav && vsnd play --card 0 /run/lab/62.wav"
    soon 20 [ -s "$WAVS/$(guest_id old)-0-0-0.wav" ] || fail "nothing is played"
    sleep 1
    daemon_kill KILL
    daemon_start
    guest_wait old 30 || fail "vsnd play: $OUTPUT"
    bytes=0
    for file in "$WAVS/$(guest_id old)"-0-0-0*.wav; do bytes=$((bytes + $(wc -c < "$file") - 80)); done
    lost=$((240000 * 4 - bytes))
    [ $lost -ge 0 ] && [ $lost -le 28800 ] || fail "$lost bytes of 960000 are missing"
    note "played on with the next daemon, $((lost / 192)) ms were lost with the last"
    guest_stop old
    daemon_kill
}

# Our module in the guest speaks version 0, too: bit for bit and in real time, through read, write and mmap.
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
    ! echo "$OUTPUT" | grep -q 'run!!!' || fail "there was an xrun: $OUTPUT"
    note "aplay -M, periods of 5 ms: $COMPARED"
    must_run old "arecord -q -D hw:1,0 -t raw -f S16_LE -r 48000 -c 2 -s 96000 /run/lab/r.raw &&
        vsnd-lab compare --frames 96000 --seed 100 /run/lab/r.raw"
    note "arecord: $(echo "$OUTPUT" | tail -n1)"
    must_run old "play 0,0 72 480000 & sleep 1; sed -n 1,8p /proc/asound/card0/vsnd; wait \$!"
    note "$(echo "$OUTPUT" | grep -v Playing | tr -s ' \n' ' ')"
    must_run old no_complaints
}

# The module's mixer is that of 2015: one switch for each side, which is sent to the backend with the volume.
scenario_v0mixer() {
    v0_world
    guest_start old "$V0_CARDS"
    must_run old "soon 10 [ -e /proc/asound/card1/pcm0c ]; amixer -c0 scontrols; amixer -c0 sget 'Master Out' | grep -E 'Limits|Left:'"
    note "$(echo "$OUTPUT" | tr -s ' \n' ' ')"
    must_run old "amixer -q -c0 sset 'Master Out' mute && play 0,0 73"
    silent old 0-0
    must_run old "amixer -q -c0 sset 'Master Out' unmute && play 0,0 74"
    heard old 0-0 74
    must_run old "amixer -q -c0 sset 'Master Out' -- -45dB,0dB && amixer -c0 sget 'Master Out' | grep -o 'Left:.*' && play 0,0 75"
    note "one side at -45 dB: $(echo "$OUTPUT" | grep Left)"
    must_run old "amixer -q -c0 sset 'Master Out' 100 && play 0,0 76 & sleep 1; amixer -q -c0 sset 'Master Out' mute; wait \$!
        amixer -q -c0 sset 'Master Out' unmute; play 0,0 77"
    heard old 0-0 77
    note "muted: silent; muted while playing and unmuted: the next identical"
    must_run old "amixer -q -c1 sset 'Master In' mute && arecord -q -D hw:1,0 -t raw -f S16_LE -r 48000 -c 2 -s 9600 /run/lab/r.raw &&
        [ \$(unsilenced < /run/lab/r.raw | wc -c) = 0 ]"
    note "Master In muted: silent"
    must_run old no_complaints
    guest_stop old
    daemon_kill
}

# Parameters and limits: an unknown model gets no card; root's limits take effect at the next open, and invalid ones are
# refused.
scenario_v0limits() {
    v0_world
    guest_start old "$V0_CARDS" lab.nodriver
    limits=/proc/asound/card3/virtualcard_pcm
    xenstore-write "/local/domain/0/backend/vsnd/$(guest_id old)/1/type" c
    must_run old "modprobe vsnd_front index=3,5 model=ac98,ac97; soon 10 [ -e /proc/asound/card5/pcm0c ]
        [ ! -e /proc/asound/card3 ] && [ ! -e /proc/asound/card5/pcm0p ] && dmesg | grep 'no model' && cat /proc/asound/card5/virtualcard_pcm"
    note "$(echo "$OUTPUT" | head -n 4 | sed 's/^.*vsnd_front: //' | tr '\n' ' ')"
    must_run old "cd /sys/bus/xen/drivers/vsnd_front && echo vsnd-1 > unbind && soon 10 [ ! -e /proc/asound/card5 ] && rmmod vsnd_front &&
        modprobe vsnd_front index=3,5 id=Uno && soon 10 [ -e /proc/asound/card3/pcm0p ] && cat /proc/asound/cards && cat $limits"
    note "$(echo "$OUTPUT" | grep -E 'Uno|rates|rate_min' | tr -s ' \n' ' ')"
    must_run old "refused() { ! echo \"\$*\" > $limits; }
        refused rate_min 48001 && refused formats 0x80000000 && refused channels_max many && refused volume 1 &&
        refused periods_max && cat $limits > /run/lab/after && grep -q 'rate_min 8000' /run/lab/after && dmesg | grep virtualcard_pcm"
    note "refused: $(echo "$OUTPUT" | sed 's/^.*virtualcard_pcm: //' | tr '\n' ',')"
    must_run old "sed 's/^rates .*/rates 0x40000000/; s/^rate_max .*/rate_max 96000/; s/^rate_min .*/rate_min 96000/' $limits > /run/lab/new && cat /run/lab/new > $limits &&
        ! aplay -D hw:3,0 -t raw -f S16_LE -r 48000 -c 2 -s 48 /dev/zero > /run/lab/48 2>&1; tail -n1 /run/lab/48
        vsnd-lab make --frames 96000 --seed 78 /run/lab/78.raw && aplay -q -D hw:3,0 -t raw -f S16_LE -r 96000 -c 2 /run/lab/78.raw"
    note "48 kHz then: $(echo "$OUTPUT" | tail -n1)"
    heard old 0-0 78
    note "96 kHz, set there: $COMPARED"
    must_run old no_complaints
    guest_stop old
    daemon_kill
}

# The daemon is killed while our module plays, and the domain is suspended to a file: playing continues.
scenario_v0goes() {
    v0_world
    guest_start old "$V0_CARDS"
    must_run old "soon 10 [ -e /proc/asound/card0/pcm0p ]"
    v0_plays 80
    daemon_kill KILL
    sleep 1
    daemon_start
    v0_played 80
    must_run old "play 0,0 81"
    heard old 0-0 81
    note "the next: $COMPARED"
    v0_plays 82
    through_file old
    v0_played 82
    must_run old "play 0,0 83"
    heard old 0-0 83
    note "the next: $COMPARED"
    must_run old no_complaints
    guest_stop old
    daemon_kill
}

# v0_plays SEED: starts to play ten seconds, and waits until the sound is heard.
v0_plays() {
    first_number=$(find "$WAVS" -name "$(guest_id old)-0-0-0*" | wc -l)
    guest_begin old "play 0,0 $1 480000; echo status \$?"
    soon 20 v0_another || fail "nothing is played"
    first_file=$(newest "$WAVS/$(guest_id old)-0-0-0")
    sleep 1
}

v0_another() { [ "$(find "$WAVS" -name "$(guest_id old)-0-0-0*" | wc -l)" -gt "$first_number" ]; }

# v0_played SEED: checks that the sound continued with another connection, without the last one's lead at most.
v0_played() {
    guest_wait old 40
    echo "$OUTPUT" | grep -q '^status 0$' || fail "aplay: $OUTPUT"
    ! echo "$OUTPUT" | grep -q 'run!!!' || fail "there was an xrun: $OUTPUT"
    goes_on old "$1" 480000 "$first_file" 7200
}
