# Every format, rate and channel count that xl and the stock driver let through.
# shellcheck shell=sh

# All that xl knows and a WAV file can hold; the stock driver drops the float formats in xl's spelling.
FORMATS="s8 u8 s16_le s16_be u16_le u16_be s24_le s24_be u24_le u24_be s32_le s32_be u32_le u32_be
f32_le f32_be f64_le f64_be iec958_subframe_le iec958_subframe_be mu_law a_law"
RATES="5512 8000 11025 16000 22050 32000 44100 48000 64000 96000 176400 192000"
CHANNELS="1 2 3 4 6 8"

# one_format FORMAT RATE CHANNELS: a second of it.
one_format() {
    seed=$((seed + 1))
    if guest_run a "play 0,0 $seed $2 $1 $2 $3; status=\$?; rm -f /run/lab/play-*; exit \$status"; then
        heard a 0-0 $seed --format "$1" --channels "$3" --frames "$2"
        passed="$passed $1/$2/$3"
    else
        refused="$refused $1/$2/$3"
    fi
}

formats_guest() {
    world
    list=$(echo "$FORMATS" | tr '\n ' ';;' | sed 's/;*$//')
    rates=$(echo "$RATES" | tr ' ' ';')
    card="CARD, short-name=All, sample-formats=$list, sample-rates=$rates, channels-min=1, channels-max=8"
    guest_start a "[['$card, buffer-size=1048576', 'PCM, name=all', 'STREAM, unique-id=p, type=p']]"
    seed=1000 passed="" refused=""
}

formats_result() {
    note "1 s each, identical:$passed"
    note "refused by aplay:${refused:- none}"
    # Linux knows sndif's float formats by another name than xl writes.
    case $(echo "$refused" | tr ' ' '\n' | grep -v '^f[36]') in
        ?*) fail "refused, and not for its name" ;;
    esac
    guest_stop a
}

# Each value with ordinary ones: all formats, all rates, all channel counts.
scenario_formats() {
    formats_guest
    for format in $FORMATS; do one_format "$format" 48000 2; done
    for rate in $RATES; do one_format s16_le "$rate" 2; done
    for channels in $CHANNELS; do one_format s32_le 44100 "$channels"; done
    formats_result
}

# All combinations: takes an hour.
scenario_formats_all() {
    formats_guest
    for format in $FORMATS; do
        for rate in $RATES; do
            for channels in $CHANNELS; do one_format "$format" "$rate" "$channels"; done
        done
    done
    formats_result
}
