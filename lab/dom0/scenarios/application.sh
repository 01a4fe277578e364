# Operations of applications on a sound card other than playing and recording (DRIVER=vsnd, except for `speaker`).
# shellcheck shell=sh

# Before OPEN there are few requests that an application has to wait for: aplay is stopped before its first frame.
scenario_queries() {
    world a
    must_run a "cd /sys/bus/xen/drivers/vsnd_front && echo vsnd-0 > unbind && echo vsnd-0 > bind
        soon 10 [ -e /proc/asound/card0/pcm1c ] || exit
        sleep 1 | aplay -q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 & sleep 0.5
        grep -m1 -o '[0-9]* requests' /proc/asound/card0/vsnd; wait"
    [ "${OUTPUT% *}" -le 4 ] || fail "$OUTPUT, OPEN among them"
    note "a new connection's first aplay: $OUTPUT, OPEN among them"
}

# axfer pauses the card when it is suspended, which requires a terminal.
scenario_paused() {
    world a
    must_run a "vsnd-lab make --frames 192000 --seed 81 /run/lab/paused.raw
        cat > /run/lab/paused.sh << 'END'
        exec 3> /run/lab/looks
        look() { sed -n 's/^state: //p; s/^hw_ptr *: //p' /proc/asound/card0/pcm0p/sub0/status >&3; }
        axfer transfer playback -q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 --buffer-size=9600 /run/lab/paused.raw &
        sleep 1; kill -TSTP %1; sleep 0.3; look; sleep 2; look; bg %1; sleep 0.5; look; wait %1; echo \$? >&3
END
        setsid cttyhack sh -m /run/lab/paused.sh > /run/lab/paused.out 2>&1; cat /run/lab/looks"
    # shellcheck disable=SC2086  # words
    set -- $OUTPUT
    [ "$1 $3 $5 $7" = "PAUSED PAUSED RUNNING 0" ] || fail "not as expected: $OUTPUT"
    [ "$2" = "$4" ] && [ "$6" -gt "$4" ] || fail "positions $2, $4, $6"
    heard a 0-0 81 --frames 192000 --gaps
    note "paused at frame $2 for 2 s: $COMPARED"
}

# Delay: frames of the buffer that were not heard yet, or captured frames that were not read yet. aplay keeps its buffer
# full, up to the playing period. arecord takes each period immediately: at most a period waits for it, plus the
# lateness of the host's timer (dom0 and the guest share one processor; half a period is far more than was measured). A
# driver that reports a period one event late doubles the delay.
scenario_delay() {
    world a
    sound="-q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 --period-size=480 --buffer-size=1920"
    for one in "0p aplay /dev/zero 960 1920" "0c arecord /dev/null 0 720"; do
        # shellcheck disable=SC2086  # words
        set -- $one
        must_run a "$2 $sound -d 4 $3 & sleep 1
            for n in \$(seq 25); do sleep 0.07; cat /proc/asound/card0/pcm$1/sub0/status; done > /run/lab/delays
            wait \$!; awk '/^delay/ { print \$3 }' /run/lab/delays" 20
        least=$(echo "$OUTPUT" | sort -n | head -n 1) most=$(echo "$OUTPUT" | sort -n | tail -n 1)
        [ "$(echo "$OUTPUT" | wc -l)" = 25 ] || fail "$2: $OUTPUT"
        [ "$least" -ge "$4" ] && [ "$most" -le "$5" ] || fail "$2: delays of $least to $most frames, expected $4 to $5"
        note "$2, periods of 480 frames, buffer of 1920: delays of $least to $most frames"
    done
}

# Between two events the position advances at the stream's rate: in all parts of a period, 99 of 100 readings lie within
# half a millisecond of a straight line, usually within 50 us. Since all domains share one processor, a few readings may
# be late: only a deviation above 2 ms is a failure. A position that changes once per period deviates by up to half a
# period, 5 ms.
scenario_position() {
    world a
    for player in "aplay --buffer-size=1920" "axfer transfer playback --buffer-size=15360 --sched-model=timer"; do
        must_run a "positions_off $player" 20
        # shellcheck disable=SC2086  # words
        set -- $OUTPUT
        [ $# = 2 ] && [ "$2" -le 2000 ] || fail "looks at $player are off a straight line by $OUTPUT us"
        note "$player: half of 400 looks within $1 us of a straight line, 99 of 100 within $2 us"
    done
}

# An application that sleeps by a clock of its own is not woken for each period, and does not wake the daemon: at most
# four interrupts a second, on either side, while the sound is complete. With its timer, axfer wants no wake-ups, and
# fills the buffer up to random places. Its playback begins with a buffer of silence and ends without its last one, and
# its capture begins at any frame.
scenario_unattended() {
    world a
    axfer="-q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 --period-size=480 --buffer-size=15360"
    must_run a "vsnd-lab make --frames 480000 --seed 85 /run/lab/85.raw"
    for model in irq timer; do
        unattended_for 6 "axfer transfer playback $axfer --sched-model=$model /run/lab/85.raw"
        heard a 0-0 85 --frames 480000 --at-least 464000 --late
        note "played, $model: $counted, $COMPARED"
        unattended_for 5 "axfer transfer capture $axfer --sched-model=$model -s 384000 /run/lab/86.raw"
        must_run a "vsnd-lab compare --from-any --frames 480000 --at-least 240000 --seed 100 /run/lab/86.raw"
        note "recorded, $model: $counted, $OUTPUT"
    done
}

# unattended_for SECONDS COMMAND: runs axfer in guest a; sets $counted to the interrupts in these seconds, which must be
# few with its timer.
unattended_for() {
    guest_begin a "rm -f /run/lab/86.raw; interrupts_in $1 $2"
    sleep 3
    began=$(daemon_interrupts)
    sleep $(($1 - 2))
    to_daemon=$(($(daemon_interrupts) - began))
    guest_wait a 30 || fail "$2: $OUTPUT"
    to_guest=$(echo "$OUTPUT" | sed -n 's/^interrupts //p')
    counted="$to_guest interrupts of the guest in $1 s, $to_daemon of the daemon in $(($1 - 2)) s"
    case $2 in
        *=timer*) [ "$to_guest" -le $((4 * $1 + 1)) ] && [ "$to_daemon" -le $((4 * ($1 - 2))) ] || fail "$2: $counted" ;;
    esac
}

# daemon_interrupts: notifications of the daemon and its workers so far.
daemon_interrupts() { awk '/evtchn:vsndd/ { sum += $2 } END { print sum + 0 }' /proc/interrupts; }

# Draining ends with the last frame. aplay fills the last period with silence, and adds a period if the last was full.
scenario_drain() {
    world a
    longest=0
    for frames in 4799 4800 4801 23999 24000 24001; do
        expected=$(((frames / 4800 + 1) * 100))
        must_run a "dmesg -c > /dev/null
            vsnd-lab make --frames $frames --seed 82 /run/lab/play-82-$frames.raw && began=\$(now_ms) &&
            play 0,0 82 $frames s16_le 48000 2 -q -M --period-size=4800 && echo \$((\$(now_ms) - began)) && ! dmesg | grep -i drain"
        [ "$OUTPUT" -le $((expected + 60)) ] || fail "$frames frames took $OUTPUT ms, expected $expected"
        [ $((OUTPUT - expected)) -le $longest ] || longest=$((OUTPUT - expected))
        heard a 0-0 82 --frames $frames
    done
    note "mmap, 1 and 5 periods of 100 ms, each -1, 0, +1 frames: identical; start, drain and end take $longest ms at most"
}

# Periods of 5 ms, by read and write: an xrun is reported, and only its frames are missing. dom0 and the guest share one
# processor, which one of them may need for longer than the buffer of 20 ms. A driver or a daemon that is late with
# every period would have an xrun in each of a thousand periods.
scenario_short() {
    world a
    buffer="--period-size=240 --buffer-size=960"
    must_run a "play 0,0 83 240000 s16_le 48000 2 -q $buffer"
    few_xruns
    [ -z "$(echo "$OUTPUT" | grep -v 'run!!!')" ] || fail "aplay: $OUTPUT"
    short_heard 83
    note "played in periods of 5 ms: $COMPARED$xruns_told"
    must_run a "XRUNS=2; record 0,0 100 240000 $buffer"
    few_xruns
    note "recorded: $(echo "$OUTPUT" | tail -n 1)$xruns_told"
    # Made in advance, since making the recording takes the guest's only processor for longer than a buffer.
    must_run a "vsnd-lab make --frames 240000 --seed 84 /run/lab/play-84-240000.raw"
    must_run a "XRUNS=2; play 0,0 84 240000 s16_le 48000 2 -q $buffer & record 0,0 100 240000 $buffer && wait \$!"
    few_xruns
    short_heard 84
    note "both at once: $(echo "$OUTPUT" | tail -n 1)$xruns_told"
}

# few_xruns: at most two xruns in the output of a guest's player or recorder; with an xrun, silence may lie between two
# frames.
few_xruns() {
    xruns=$(echo "$OUTPUT" | grep -c 'run!!!')
    [ "$xruns" -le 2 ] || fail "$xruns xruns: $OUTPUT"
    gaps="" xruns_told=""
    [ "$xruns" = 0 ] || gaps=--gaps xruns_told=", xruns told: $xruns"
}

# short_heard SEED: a player that had an xrun before the first position opens the stream again, which makes another file.
short_heard() {
    if [ -n "$gaps" ]; then other_files "$1" 240000 0 1; else heard a 0-0 "$1" --frames 240000; fi
}

# A recording on each of two speakers, one after the other. speaker-test expects a WAV file's format in its first chunk.
scenario_speaker() {
    world a
    must_run a "mkdir -p /run/lab/speaker; cd /run/lab/speaker
        for one in 85:Left 86:Right; do rm -f made.wav; vsnd-lab make --channels 1 --frames 48000 --seed \${one%:*} made.wav &&
            { head -c 12 made.wav; tail -c +49 made.wav; } > Front_\${one#*:}.wav || exit; done
        speaker-test -D hw:0,0 -c2 -r 48000 -F S16_LE -t wav -W /run/lab/speaker -l1" 60
    speaker_said=$(echo "$OUTPUT" | grep '^ [01] - ' | tr -s ' \n' ' ')
    heard a 0-0 85 --channels 1 --frames 48000 --among 0-0/2
    note "speaker-test,$speaker_said: $COMPARED"
    heard a 0-0 86 --channels 1 --frames 48000 --late --among 1-1/2
    note "$COMPARED"
}
