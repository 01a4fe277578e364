# Applications that use ALSA in their own ways, with either driver. Sound without conversion is compared bit for bit.
# shellcheck shell=sh

# applications_world: starts the guest that has these programs.
applications_world() {
    [ -e /run/lab/applications.id ] || cat /lab/guest.cpio /lab/applications.cpio > /run/lab/applications.cpio
    GUEST_RAMDISK=/run/lab/applications.cpio GUEST_MB=300 world applications
    rm -f /run/lab/applications.cpio
}

# same_as_decoded: checks that the last recording of the first stream begins with the guest's /run/lab/decoded.raw,
# whose checksum and size are in $OUTPUT.
same_as_decoded() {
    # shellcheck disable=SC2086  # words
    set -- $OUTPUT
    decoded_file=$(newest "$WAVS/$(guest_id applications)-0-0-0")
    soon 3 [ "$(wc -c < "$decoded_file")" -ge $(($2 + 80)) ] || fail "$(wc -c < "$decoded_file") bytes for $2"
    [ "$(tail -c +81 "$decoded_file" | head -c "$2" | md5sum | cut -d' ' -f1)" = "$1" ] || fail "not what was decoded"
    COMPARED="$2 bytes identical"
}

scenario_sox() {
    applications_world
    raw="-t raw -r 48000 -e signed -b 16 -c 2"
    card="-r 48000 -b 16 -c 2 -t alsa hw:0,0"
    must_run applications "vsnd-lab make --frames 96000 --seed 170 /run/lab/170.raw && sox -q -D $raw /run/lab/170.raw $card"
    heard applications 0-0 170
    note "played: $COMPARED"
    must_run applications "sox -q -D $card $raw /run/lab/sox.raw trim 0 96000s && vsnd-lab compare --seed 100 /run/lab/sox.raw"
    note "recorded: $OUTPUT"
}

scenario_mpg123() {
    applications_world
    must_run applications "mpg123 -q -s --stereo /usr/share/sounds/tone.mp3 > /run/lab/decoded.raw; md5sum < /run/lab/decoded.raw; wc -c < /run/lab/decoded.raw"
    decoded=$(echo "$OUTPUT" | sed 's, *-$,,')
    must_run applications "mpg123 -q --stereo -o alsa -a hw:0,0 /usr/share/sounds/tone.mp3"
    OUTPUT=$decoded
    same_as_decoded
    note "$COMPARED as its own decoder has them"
}

# PortAudio, used by mpg123, which lets it play half a second late and drops that half second at the end. Silence may
# lie before and within the sound; all other bytes are compared.
scenario_portaudio() {
    applications_world
    # With the stock driver on arm64 PortAudio writes its first buffer, which is silence, and nothing after it, although
    # the driver has a period's room; after the xrun it does so again, without an end.
    if [ "$(guest_module)" != vsnd_front ] && [ "$(uname -m)" = aarch64 ]; then
        guest_run applications "timeout -s KILL 3 mpg123 -q --stereo --loop 8 -o portaudio /usr/share/sounds/tone.mp3" 60 || true
        portaudio_file=$(newest "$WAVS/$(guest_id applications)-0-0-0")
        portaudio_all=$(wc -c < "$portaudio_file")
        [ "$portaudio_all" -ge 176400 ] || fail "$portaudio_all bytes in three seconds: less than a second of silence"
        portaudio_bytes=$(tail -c +81 "$portaudio_file" | unsilenced | wc -c)
        [ "$portaudio_bytes" = 0 ] || fail "$portaudio_bytes bytes that are not 0, where nothing was heard so far: compare them"
        note "$portaudio_all bytes, all silence, as known of the stock driver on arm64"
        return
    fi
    must_run applications "mpg123 -q -s --stereo --loop 8 /usr/share/sounds/tone.mp3 | unsilenced > /run/lab/portaudio.raw
        mpg123 -q --stereo --loop 8 -o portaudio /usr/share/sounds/tone.mp3" 60
    tail -c +81 "$(newest "$WAVS/$(guest_id applications)-0-0-0")" | unsilenced > /run/lab/portaudio.raw
    portaudio_bytes=$(wc -c < /run/lab/portaudio.raw)
    must_run applications "head -c $portaudio_bytes /run/lab/portaudio.raw | md5sum; wc -c < /run/lab/portaudio.raw"
    portaudio_all=$(echo "$OUTPUT" | tail -n 1)
    [ "$(echo "$OUTPUT" | head -n 1)" = "$(md5sum < /run/lab/portaudio.raw)" ] || fail "not what was decoded: $portaudio_bytes bytes of $portaudio_all"
    [ "$portaudio_bytes" -ge $((portaudio_all / 2)) ] || fail "only $portaudio_bytes bytes of $portaudio_all came"
    rm -f /run/lab/portaudio.raw
    note "the first $portaudio_bytes bytes of $portaudio_all that are not 0: identical"
}

scenario_gst() {
    applications_world
    launch="GST_PLUGIN_SYSTEM_PATH=\$(echo /usr/lib/*/gstreamer-1.0) GST_REGISTRY=/run/lab/registry GST_REGISTRY_FORK=no gst-launch-1.0 -q"
    must_run applications "vsnd-lab make --frames 96000 --seed 171 /run/lab/171.raw && $launch filesrc location=/run/lab/171.raw ! \
        rawaudioparse format=pcm pcm-format=s16le sample-rate=48000 num-channels=2 ! alsasink device=hw:0,0" 60
    # The sink begins by its clock, one or two frames late with either driver, and stops when the sound ends.
    heard applications 0-0 171 --late --from-any --at-least 96000
    note "alsasink: $COMPARED"
    must_run applications "$launch alsasrc device=hw:0,0 num-buffers=200 ! audio/x-raw,format=S16LE,rate=48000,channels=2 ! \
        filesink location=/run/lab/gst.raw && vsnd-lab compare --frames 480000 --at-least 90000 --seed 100 /run/lab/gst.raw" 60
    note "alsasrc: $OUTPUT"
}

# The recorded sound is played immediately.
scenario_through() {
    applications_world
    must_run applications "arecord -q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 -s 96000 | aplay -q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2"
    heard applications 0-0 100
    note "arecord | aplay: $COMPARED"
    must_run applications "timeout -s INT 4 alsaloop -C hw:0,0 -P hw:0,0 -f S16_LE -r 48000 -c 2 -t 100000 -S none; true"
    heard applications 0-0 100 --frames 480000 --at-least 48000 --late --from-any
    note "alsaloop: $COMPARED"
}
