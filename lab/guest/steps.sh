# Functions for dom0's commands in a guest. Sourced by the guest's init.
# shellcheck shell=sh

# play DEVICE SEED [FRAMES [FORMAT RATE CHANNELS [aplay's options]]]: plays a recording through the card.
play() {
    device=$1 seed=$2 frames=${3:-96000} format=${4:-s16_le} rate=${5:-48000} channels=${6:-2}
    shift $(($# < 6 ? $# : 6))
    file=/run/lab/play-$seed-$frames.raw
    [ -e "$file" ] || vsnd-lab make --format "$format" --channels "$channels" --frames "$frames" --seed "$seed" "$file"
    aplay -D "hw:0,$device" -t raw -f "$(alsa_name "$format")" -r "$rate" -c "$channels" "$@" "$file"
}

# record DEVICE SEED [FRAMES [arecord's options]]: captures, and compares with the source's recording. After each of up
# to $XRUNS overruns that arecord reports, the recording may continue at a later frame of the source, which is 10 s
# long.
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

# real_time DEVICE RATE: checks that the position of the playing stream follows the clock for a second, within a tenth.
real_time() {
    status=/proc/asound/card0/pcm${1%,*}p/sub${1#*,}/status
    first=$(sed -n 's/^hw_ptr *: //p' "$status") began=$(now_ms)
    sleep 1
    frames=$(($(sed -n 's/^hw_ptr *: //p' "$status") - first)) took=$(($(now_ms) - began))
    echo "$frames frames in $took ms"
    off=$((frames - took * $2 / 1000))
    [ ${off#-} -le $(($2 / 10)) ]
}

# positions_off PLAYER...: deviation of the positions of a stream from a straight line, in microseconds: the maximum of
# half of 400 readings, and of 99 of 100. The stream plays for six seconds in periods of 10 ms.
positions_off() {
    "$@" -q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 --period-size=480 -d 6 /dev/zero > /run/lab/player 2>&1 &
    player=$!
    sleep 1
    vsnd-lab positions --looks 400 /proc/asound/card0/pcm0p/sub0/status > /run/lab/looks
    wait $player || { cat /run/lab/player; return 1; }
    # Deviations in thousandths of a frame.
    awk '{ printf "%.0f\n", ($2 - $1 * 48 / 1000000) * 1000 }' /run/lab/looks | sort -n |
        awk '{ at[NR] = $1 } END { for (n in at) { off = at[n] - at[int(NR / 2)]; print int((off < 0 ? -off : off) / 48) } }' |
        sort -n | sed -n '200p; 396p'
}

# card_interrupts: interrupts of the guest's sound card so far. The names of the driver's interrupts are not reliable, so
# all interrupts of Xen except those of the store and the console are counted.
card_interrupts() {
    awk '$3 ~ "^xen-dyn" && !/xenbus|hvc_console/ { sum += $2 } END { print sum + 0 }' /proc/interrupts
}

# interrupts_in SECONDS COMMAND...: runs a player or recorder, and prints the card's interrupts of that many seconds, two
# seconds after its start.
interrupts_in() {
    seconds=$1
    shift
    "$@" > /run/lab/said 2>&1 &
    sleep 2
    before=$(card_interrupts)
    sleep "$seconds"
    interrupts=$(($(card_interrupts) - before))
    wait $!
    status=$?
    # axfer says so when it is woken early.
    grep -v '^Wake up but not enough space' /run/lab/said
    echo "interrupts $interrupts"
    return $status
}

# shortest_buffer: the shortest buffer of two periods with which aplay plays three seconds without an xrun, in
# milliseconds; 0 if even 80 are too short.
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

# first COMMAND...: runs a command before all ordinary programs.
first() {
    # shellcheck disable=SC2016  # variables of the inner shell
    sh -c 'renice -n -20 -p $$ > /dev/null && exec "$@"' first "$@"
}

# timed SPARE-MS EXPECTED-MS COMMAND...: runs the command, which must not take longer than both times together.
timed() {
    most=$(($1 + $2)) began=$(now_ms)
    shift 2
    "$@" || return
    took=$(($(now_ms) - began))
    [ $took -le $most ] || { echo "took $took ms, expected at most $most"; return 1; }
}

# alsa_name FORMAT: ALSA's name of a format: the store's name in capitals, except for xl's spelling of the float
# formats.
alsa_name() {
    echo "$1" | sed 's/^f32_/float_/; s/^f64_/float64_/' | tr '[:lower:]' '[:upper:]'
}

# no_complaints: checks that the kernel reported no errors of itself or its drivers.
no_complaints() { ! dmesg | grep -iE 'still in use|deferring g.e|BUG:|WARNING:|Oops'; }

# with_pulse COMMAND...: runs the command beside a PulseAudio that has the card (in a guest with the desktop's
# programs).
with_pulse() {
    (
        pulse_start "module-alsa-sink device=hw:0,0 rate=48000 format=s16le channels=2" \
            "module-alsa-source device=hw:0,0 rate=48000 format=s16le channels=2" || exit 1
        beside "$pulse_pid" "$@"
    )
}

# with_pulse_sink CHANNELS COMMAND...: like with_pulse, with a sink alone, of so many channels of the card, without a
# channel map.
with_pulse_sink() {
    (
        pulse_start "module-alsa-sink device=hw:0,0 rate=48000 format=s16le channels=$1 tsched=1" || exit 1
        shift
        beside "$pulse_pid" "$@"
    )
}

# with_pipewire COMMAND...: runs the command beside a PipeWire that has the card (in a guest with PipeWire's programs).
with_pipewire() {
    (
        pipewire_start /lab/pipewire.conf || exit 1
        beside "$pipewire_pids" "$@"
    )
}

# beside PIDS COMMAND...: runs the command, and then ends those processes.
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

# on_screen COMMAND...: runs the command for three seconds on a terminal of 80×24; its output is in the console's log.
on_screen() {
    stty rows 24 cols 80 < /dev/hvc0
    TERM=linux timeout 3 "$@" < /dev/hvc0 > /dev/hvc0 2>&1
}
