# Played sound is heard, and the host's sound is recorded, bit for bit.
# shellcheck shell=sh

scenario_playback() {
    world a
    must_run a "play 0,0 1"
    heard a 0-0 1
    note "$COMPARED"
}

scenario_capture() {
    world a
    must_run a "record 0,0 100"
    note "$OUTPUT"
}

scenario_duplex() {
    world a
    must_run a "play 0,0 2 & record 0,0 100 || exit 1; wait \$!"
    heard a 0-0 2
    note "played: $COMPARED"
    note "recorded at the same time: $(echo "$OUTPUT" | grep identical)"
}

scenario_eight() {
    world a
    must_run a "rm -f /run/lab/bad; for n in 0,0 0,1 0,2 1,0 1,1 1,2; do
            { play \$n 1\$(echo \$n | tr -d ,) || touch /run/lab/bad; } &
        done
        for n in 0,0 1,0; do { record \$n 100 || touch /run/lab/bad; } & done
        wait; [ ! -e /run/lab/bad ]"
    for stream in 0-0 0-1 0-2 1-0 1-1 1-2; do
        heard a $stream "1$(echo $stream | tr -d -)"
    done
    note "6 of 6 played, each: $COMPARED"
    note "2 of 2 recorded: $(echo "$OUTPUT" | grep -c identical) identical"
}

scenario_two() {
    world a b
    guest_begin a "play 0,0 3 144000"
    must_run b "play 0,0 4 144000"
    guest_wait a 10 || fail "aplay in a: $OUTPUT"
    heard a 0-0 3 --frames 144000
    heard b 0-0 4 --frames 144000
    note "both guests, each: $COMPARED"
}

# Lengths around multiples of the period: the last period must wake the player, whether or not it is exactly filled.
scenario_lengths() {
    world a
    options="--period-size=4800 --buffer-size=19200"
    for periods in 1 2 5; do
        for more in -1 0 1; do
            frames=$((periods * 4800 + more))
            must_run a "dmesg -c > /dev/null
                timed 1000 $((frames / 48)) play 0,0 5 $frames s16_le 48000 2 $options || exit
                ! dmesg | grep -i drain"
            heard a 0-0 5 --frames $frames
        done
    done
    note "1, 2, 5 periods of 4800 frames, each -1, 0, +1 frames: identical, ended at once, no drain time-out"
}
