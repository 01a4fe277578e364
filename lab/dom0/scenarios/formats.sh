# Every format, rate and channel count that xl and the stock driver accept.
# shellcheck shell=sh

# All formats that xl knows and a WAV file can hold.
FORMATS="s8 u8 s16_le s16_be u16_le u16_be s24_le s24_be u24_le u24_be s32_le s32_be u32_le u32_be \
iec958_subframe_le iec958_subframe_be mu_law a_law"
# The stock driver has other names for the float formats than xl, and does not recognise them.
UNSEEN="f32_be f32_le f64_be f64_le"
RATES="5512 8000 11025 16000 22050 32000 44100 48000 64000 96000 176400 192000"
CHANNELS="1 2 3 4 5 6 7 8"

# When a player ends, ALSA's library may make the driver fill the buffer after the last frame with silence; that of
# Debian 13 always does. The stock driver fills with zero bytes. In formats in which those are no silence, they are
# heard until the driver is told to stop.
fills_with_zeroes() {
    [ "$(guest_module)" = snd_xen_front ] || return
    must_run a "aplay --version"
    [ "$(echo "$OUTPUT" | sed 's/.*version 1\.2\.\([0-9]*\).*/\1/')" -ge 14 ]
}

formats_guest() {
    world
    # Our own driver accepts all formats.
    [ "$(guest_module)" = snd_xen_front ] || FORMATS="$FORMATS $UNSEEN" UNSEEN=""
    list=$(echo "$FORMATS $UNSEEN" | tr ' ' ';')
    rates=$(echo "$RATES" | tr ' ' ';')
    card="CARD, short-name=All, sample-formats=$list, sample-rates=$rates, channels-min=1, channels-max=8"
    guest_start a "[['$card, buffer-size=1048576', 'PCM, name=all', 'STREAM, unique-id=p, type=p']]"
    zeroes="" zeroes_noted=""
    ! fills_with_zeroes || zeroes=--zeroes
    number=0
    for format in $UNSEEN; do
        guest_run a "play 0,0 1 48000 $format" && fail "the stock driver takes $format"
        echo "$OUTPUT" | grep -q 'Sample format non available' || fail "$format: $OUTPUT"
    done
}

# one_format FORMAT RATE CHANNELS: plays and compares 0.4 s, four times the buffer.
one_format() {
    number=$((number + 1))
    frames=$(($2 * 2 / 5))
    must_run a "play 0,0 $number $frames $1 $2 $3 --buffer-time=100000 && rm /run/lab/play-*"
    # shellcheck disable=SC2086  # no word or one
    heard a 0-0 $number --format "$1" --channels "$3" --frames $frames $zeroes
    rm "$heard_file"
    heard_zeroes=$(echo "$COMPARED" | sed -n 's/.*, then \([0-9]*\) of zero bytes$/\1/p')
    [ -n "$heard_zeroes" ] || return 0
    [ "$heard_zeroes" -le $(($2 / 500)) ] || fail "$1 ends in $heard_zeroes frames of zero bytes: more than until the driver is told to stop"
    zeroes_noted="$zeroes_noted $1 $heard_zeroes"
}

# A guest's configuration that avoids the zero bytes.
without_zeroes() {
    must_run a "echo 'pcm.quiet { type hw card 0 drain_silence 0 }' > /etc/asound.conf
        vsnd-lab make --format u8 --frames 19200 --seed 99 /run/lab/quiet.raw
        aplay -q -D quiet -t raw -f U8 -r 48000 -c 2 --buffer-time=100000 /run/lab/quiet.raw"
    heard a 0-0 99 --format u8 --frames 19200
    note "at the end frames of zero bytes are heard:$zeroes_noted; with drain_silence 0 none: $COMPARED"
}

formats_noted() {
    note "$number combinations, 0.4 s each, identical: $FORMATS; $RATES Hz; $CHANNELS ch"
    [ -z "$UNSEEN" ] || note "refused, for their names: $UNSEEN"
    [ -z "$zeroes" ] || without_zeroes
    guest_stop a
}

# Each value of one parameter with common values of the others.
scenario_formats() {
    formats_guest
    for format in $FORMATS; do one_format "$format" 48000 2; done
    for rate in $RATES; do one_format s16_le "$rate" 2; done
    for channels in $CHANNELS; do one_format s32_le 44100 "$channels"; done
    formats_noted
}

# All combinations, 1728 of them.
scenario_formats_all() {
    formats_guest
    for format in $FORMATS; do
        for rate in $RATES; do
            for channels in $CHANNELS; do one_format "$format" "$rate" "$channels"; done
        done
    done
    formats_noted
}
