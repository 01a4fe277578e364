# What a guest can be asked to do, beside plain shell. Sourced by its init.
# shellcheck shell=sh

# play DEVICE SEED [FRAMES [FORMAT RATE CHANNELS [aplay's options]]]: a recording through the card.
play() {
    device=$1 seed=$2 frames=${3:-96000} format=${4:-s16_le} rate=${5:-48000} channels=${6:-2}
    shift $(($# < 6 ? $# : 6))
    file=/run/lab/play-$seed-$frames.raw
    [ -e "$file" ] || vsnd-lab make --format "$format" --channels "$channels" --frames "$frames" --seed "$seed" "$file"
    aplay -D "hw:0,$device" -t raw -f "$(alsa_name "$format")" -r "$rate" -c "$channels" "$@" "$file"
}

# record DEVICE SEED [FRAMES [arecord's options]]: captures, and compares with the source's recording. Of as many overruns as
# $XRUNS says, each of which arecord tells of, the recording may go on at a later frame of the source, which is 10 s long.
record() {
    device=$1 seed=$2 frames=${3:-96000}
    shift $(($# < 3 ? $# : 3))
    file=/run/lab/record-$device.raw
    rm -f "$file"
    arecord -q -D "hw:0,$device" -t raw -f S16_LE -r 48000 -c 2 -s "$frames" "$@" "$file" 2> /run/lab/record-said
    status=$?
    cat /run/lab/record-said >&2
    [ $status = 0 ] || return 1
    overruns=$(grep -c 'overrun!!!' /run/lab/record-said)
    if [ "$overruns" -gt 0 ] && [ "$overruns" -le "${XRUNS:-0}" ]; then
        vsnd-lab compare --frames 480000 --at-least "$frames" --jumps "$overruns" --seed "$seed" "$file"
    else
        vsnd-lab compare --frames "$frames" --seed "$seed" "$file"
    fi
}

# real_time DEVICE RATE: the position of the stream that plays there goes with the clock, for a second and within a tenth.
real_time() {
    status=/proc/asound/card0/pcm${1%,*}p/sub${1#*,}/status
    first=$(sed -n 's/^hw_ptr *: //p' "$status") began=$(now_ms)
    sleep 1
    frames=$(($(sed -n 's/^hw_ptr *: //p' "$status") - first)) took=$(($(now_ms) - began))
    echo "$frames frames in $took ms"
    off=$((frames - took * $2 / 1000))
    [ ${off#-} -le $(($2 / 10)) ]
}

# positions_off: how far the positions of a stream that plays for six seconds in periods of 10 ms lie off a straight line, in
# microseconds: half of 400 looks at most, and 99 of 100.
positions_off() {
    aplay -q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 --period-size=480 --buffer-size=1920 -d 6 /dev/zero &
    player=$!
    sleep 1
    vsnd-lab positions --looks 400 /proc/asound/card0/pcm0p/sub0/status > /run/lab/looks
    wait $player
    # In thousandths of a frame.
    awk '{ printf "%.0f\n", ($2 - $1 * 48 / 1000000) * 1000 }' /run/lab/looks | sort -n |
        awk '{ at[NR] = $1 } END { for (n in at) { off = at[n] - at[int(NR / 2)]; print int((off < 0 ? -off : off) / 48) } }' |
        sort -n | sed -n '200p; 396p'
}

# shortest_buffer: the shortest buffer of two periods with which aplay plays three seconds without an xrun, in milliseconds; 0 if that is
# none of up to 80.
shortest_buffer() {
    shortest=0
    for milliseconds in 40 30 20 15 10 8 6 5 4 3 2 1; do
        frames=$((milliseconds * 48))
        aplay -D hw:0,0 -q -t raw -f S16_LE -r 48000 -c 2 --period-size=$frames --buffer-size=$((frames * 2)) -d 3 /dev/zero \
            > /run/lab/said 2>&1 && ! grep -q 'run!!!' /run/lab/said || break
        shortest=$((milliseconds * 2))
    done
    echo $shortest
}

# timed SPARE-MS EXPECTED-MS COMMAND...: the command, which must not take longer than expected and to spare.
timed() {
    most=$(($1 + $2)) began=$(now_ms)
    shift 2
    "$@" || return
    took=$(($(now_ms) - began))
    [ $took -le $most ] || { echo "took $took ms, expected at most $most"; return 1; }
}

# ALSA's name of a format: the store's in capitals, but for xl's spelling of the float formats.
alsa_name() {
    echo "$1" | sed 's/^f32_/float_/; s/^f64_/float64_/' | tr '[:lower:]' '[:upper:]'
}

# no_complaints: the kernel has found nothing wrong with itself or its drivers.
no_complaints() { ! dmesg | grep -iE 'still in use|deferring g.e|BUG:|WARNING:|Oops'; }

# with_pulse COMMAND...: the command, beside a PulseAudio that has the card (in a guest with the desktop's programs).
with_pulse() {
    (
        pulse_start "module-alsa-sink device=hw:0,0 rate=48000 format=s16le channels=2" \
            "module-alsa-source device=hw:0,0 rate=48000 format=s16le channels=2" || exit 1
        beside "$pulse_pid" "$@"
    )
}

# with_pulse_8 COMMAND...: the same with all channels of a card, without a word of where they belong.
with_pulse_8() {
    (
        pulse_start "module-alsa-sink device=hw:0,0 rate=48000 format=s16le channels=8" || exit 1
        beside "$pulse_pid" "$@"
    )
}

# with_pipewire COMMAND...: the command, beside a PipeWire that has the card (in a guest with its programs).
with_pipewire() {
    (
        pipewire_start /lab/pipewire.conf || exit 1
        beside "$pipewire_pids" "$@"
    )
}

# beside PIDS COMMAND...: the command, and then the end of those processes.
beside() {
    beside_pids=$1
    shift
    "$@"
    status=$?
    # shellcheck disable=SC2086  # numbers
    kill $beside_pids
    # shellcheck disable=SC2086
    wait $beside_pids
    return $status
}

# on_screen COMMAND...: what the command shows on a terminal of 80×24 in three seconds; it is in the console's log.
on_screen() {
    stty rows 24 cols 80 < /dev/hvc0
    TERM=linux timeout 3 "$@" < /dev/hvc0 > /dev/hvc0 2>&1
}
