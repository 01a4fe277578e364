# The model of the one other backend in the field replaces the daemon: its habits, with either driver.
# shellcheck shell=sh

# other_start [OPTION...]: starts the model for the card of guest a. The daemon, or an earlier model, has ended before;
# its states are still in the store.
other_start() {
    # Removed here: the new process empties it only later, and until then it would have the earlier process's lines.
    rm -f /run/lab/other.log
    vsnd-lab-other "$(guest_id a)" --directory "$WAVS" --source /run/lab/source.wav "$@" > /run/lab/other.log 2>&1 &
    other=$!
    soon 20 grep -qs connected /run/lab/other.log || fail "the guest does not connect to the other backend: $(tail -n1 /run/lab/other.log)"
    card_back a
}

# other_card [none|some]: waits until the guest has the card, and with our driver, until the card has the offered mixer:
# a card with another mixer is another card. Nothing else runs in the guest.
other_card() {
    other_shown='grep -q "Simple ctrls *: 0$" /run/lab/info'
    [ "${1:-none}" = none ] || other_shown="! $other_shown"
    [ "$(guest_module)" = vsnd_front ] || other_shown=true
    guest_run a "soon 10 sh -c '[ -e /proc/asound/card0/pcm1c ] && amixer -c0 info > /run/lab/info && $other_shown'" ||
        fail "the guest shows no card of the other backend"
}

# other_kill: kills the model, which must have run until then.
other_kill() {
    kill -0 "$other" 2>/dev/null || fail "the other backend is gone: $(tail -n1 /run/lab/other.log)"
    kill -KILL "$other"
    wait "$other" 2>/dev/null
}

# other_world [OPTION...]: starts guest a, served by the model.
other_world() {
    world a
    daemon_kill KILL
    other_start "$@"
    case "$*" in
    *--offers-mixer*) other_card some ;;
    *) other_card ;;
    esac
}

# other_end: ends the model, and lets the daemon serve again.
other_end() {
    other_kill
    daemon_start
    card_back a
    must_run a "play 0,0 199 24000"
    heard a 0-0 199 --frames 24000
    note "the daemon again: $COMPARED"
}

# Positions before the end of a period and after it: short periods, periods of no whole milliseconds, both directions at
# the same time.
scenario_other() {
    other_world
    must_run a "timed 1500 2000 play 0,0 160"
    heard a 0-0 160
    note "played: $COMPARED"
    for sizes in "4096 16384" "1024 2048" "500 2000"; do
        sizes="--period-size=${sizes% *} --buffer-size=${sizes#* }"
        must_run a "timed 1500 2000 record 0,0 100 96000 $sizes"
        note "recorded, $sizes: $OUTPUT"
    done
    must_run a "play 0,0 161 & record 0,0 100 96000 || exit 1; wait \$!"
    heard a 0-0 161
    note "both at once: $COMPARED, $(echo "$OUTPUT" | grep identical)"
    other_end
}

# An application is stopped for 2 s. The next run counts from 0, from an underrun's end, or from an odd number.
scenario_otherheld() {
    other_world
    for from in 0 37; do
        [ $from = 0 ] || { other_kill; other_start --counts-from $from; other_card; }
        must_run a "play 0,0 162 192000 & sleep 1; kill -STOP \$(pidof aplay); sleep 2; kill -CONT \$(pidof aplay); wait \$!"
        underruns=$(echo "$OUTPUT" | grep -c underrun)
        [ "$underruns" = 1 ] || fail "$underruns underruns: $OUTPUT"
        # Each OPEN has a file, and frames that were not played before it are dropped.
        other_files 162 192000
        note "player, then from $from: $COMPARED"
        must_run a "arecord -q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 -s 144000 /run/lab/held.raw & sleep 1
            kill -STOP \$(pidof arecord); sleep 2; kill -CONT \$(pidof arecord); wait \$! &&
            vsnd-lab compare --frames 480000 --at-least 144000 --jumps 1 --seed 100 /run/lab/held.raw"
        note "recorder: $(echo "$OUTPUT" | tail -n1)"
    done
    other_end
}

# other_files SEED FRAMES [GAP [FIRST]]: checks that the newest recording of the first stream is complete, or that it and the
# file before it are complete together, GAP frames apart (0).
other_files() {
    last=$(newest "$WAVS/$(guest_id a)-0-0-0")
    vsnd-lab compare --seed "$1" --frames "$2" --gaps "$last" > /run/lab/compared || {
        first=$(other_before "$last")
        vsnd-lab compare --seed "$1" --frames "$2" --at-least "${4:-4800}" "$first" > /run/lab/compared ||
            fail "the first file: $(cat /run/lab/compared)"
        other_begin=$(cat /run/lab/compared)
        vsnd-lab compare --seed "$1" --frames "$2" --from-any "$last" > /run/lab/compared ||
            fail "the file behind it: $(cat /run/lab/compared)"
        other_until=$(echo "$other_begin" | sed 's/first \([0-9]*\) .*/\1/')
        other_from=$(sed 's/from \([0-9]*\) .*/\1/' /run/lab/compared)
        [ $((other_from - other_until)) = "${3:-0}" ] || fail "$other_begin, then $(cat /run/lab/compared)"
    }
    COMPARED=$(cat /run/lab/compared)
}

# other_before FILE: name of the recording before FILE.
other_before() {
    before_number=${1##*-}
    before_number=${before_number%.wav}
    before_base=${1%-*}
    [ "$before_number" != 2 ] || { echo "$before_base.wav"; return; }
    echo "$before_base-$((before_number - 1)).wav"
}

# other_pause: suspends axfer, which then pauses the card if that is offered. The stream must continue to play, which
# two readings meanwhile show; the buffer is long enough for both. Since the connection one request was refused: the
# first
# PAUSE.
other_pause() {
    must_run a "[ -e /run/lab/other-paused.raw ] || vsnd-lab make --frames 32000 --seed 163 /run/lab/other-paused.raw
        cat > /run/lab/paused.sh << 'END'
        exec 3> /run/lab/looks
        look() { sed -n 's/^state: //p; s/^hw_ptr *: //p' /proc/asound/card0/pcm0p/sub0/status >&3; }
        axfer transfer playback -q -D hw:0,0 -t raw -f S16_LE -r 8000 -c 2 --buffer-size=16000 --period-size=800 /run/lab/other-paused.raw &
        sleep 1; kill -TSTP %1; sleep 0.2; look; sleep 0.6; look
        grep -m1 -o '[0-9]* errors' /proc/asound/card0/vsnd >&3
        bg %1; wait %1; echo \$? >&3
END
        setsid cttyhack sh -m /run/lab/paused.sh > /run/lab/paused.out 2>&1; cat /run/lab/looks"
    paused=$(echo "$OUTPUT" | tr '\n' ' ')
    # shellcheck disable=SC2086  # words
    set -- $paused
    [ "$1 $3 $5 $6 $7" = "RUNNING RUNNING 1 errors 0" ] && [ "$4" -gt "$2" ] || fail "not as expected: $paused"
    # axfer itself skips a period when it is interrupted, and later plays another one twice, with either driver; there
    # is no gap.
    heard a 0-0 163 --frames 32000 --at-least 32000 --jumps 3
}

# PAUSE is refused: the application gets an error, the stream continues to play, and PAUSE is not offered to the next
# application. After the next connection, it is offered again.
scenario_otherpause() {
    other_world
    other_pause
    note "refused: $paused, $COMPARED"
    other_pause
    note "not offered: $paused, $COMPARED"
    other_kill
    other_start
    other_card
    other_pause
    note "offered by the next connection: $paused, $COMPARED"
    other_end
}

# The model is killed while a player and a recorder run, and comes back after 2 s. It ignores a frontend in
# Reconfiguring.
scenario_otherback() {
    other_world
    guest_begin a "play 0,0 164 480000 & one=\$!
        arecord -q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 -s 384000 /run/lab/back.raw & wait \$one; a=\$?; wait \$!
        echo statuses \$a \$?; vsnd-lab compare --frames 480000 --at-least 48000 --jumps 1 --seed 100 /run/lab/back.raw"
    sleep 2
    began=$(now_ms)
    other_kill
    sleep 2
    other_start
    took=$(($(now_ms) - began))
    guest_wait a 60
    note "killed, and back $took ms later: $(echo "$OUTPUT" | tail -n2 | tr '\n' ' ')"
    if [ "$(guest_module)" = vsnd_front ]; then
        echo "$OUTPUT" | grep -q '^statuses 0 0$' || fail "not both ended well: $OUTPUT"
        [ $took -lt 5000 ] || fail "it took too long"
        goes_on a 164 480000 "$(other_before "$(newest "$WAVS/$(guest_id a)-0-0-0")")"
    fi
    other_card
    must_run a "play 0,0 165"
    heard a 0-0 165
    note "and the next: $COMPARED"
    other_end
}

# A mixer that is offered but refuses all values, and no mixer.
scenario_othermixer() {
    other_world --offers-mixer
    must_run a "play 0,0 166 & sleep 1; amixer -c0 sset PCM,0 50% > /run/lab/set 2>&1; echo status \$?; tail -n 1 /run/lab/set; wait \$!"
    heard a 0-0 166
    note "set while it plays, refused ($(echo "$OUTPUT" | grep -v Playing | tr -s '\n ' ' ')): $COMPARED"
    other_kill
    other_start
    other_card
    must_run a "amixer -c0 scontrols | wc -l; play 0,0 167"
    heard a 0-0 167
    note "none is offered: $(echo "$OUTPUT" | grep -x '[0-9]*') controls, $COMPARED"
    other_end
}
