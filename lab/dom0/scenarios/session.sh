# A desktop's session in a guest, as Debian configures it: PipeWire, and the session manager that makes sink and source
# of the card which udev tells of.
# shellcheck shell=sh

# session_world: starts the guest with the session's programs, and the session.
session_world() {
    [ ! -e /run/lab/session.id ] || { world session; return; }
    cat /lab/guest.cpio /lab/desktop.cpio /lab/pipewire.cpio /lab/session.cpio > /run/lab/session.cpio
    CARD=${SESSION_CARD:-"[['CARD, short-name=Lab', 'PCM, name=first', 'STREAM, unique-id=p0, type=p', 'STREAM, unique-id=c0, type=c']]"}
    GUEST_RAMDISK=/run/lab/session.cpio GUEST_MB=360 world session
    rm -f /run/lab/session.cpio
    must_run session session_start 60
}

# session_run COMMAND [SECONDS]: runs a command of the session; it must succeed.
session_run() { must_run session "session_environment; $1" "${2:-60}"; }

# session_quiet SECONDS COMMAND: the same for a command that takes so long. Dom0 sleeps meanwhile: all domains share one
# processor, and a look for the answer, once a second, takes longer than the shortest buffers.
session_quiet() {
    guest_begin session "session_environment; $2"
    sleep "$1"
    guest_wait session 30 || fail "$2: status $?: $(echo "$OUTPUT" | tail -n5 | tr '\n' ' ')"
}

# The card in a desktop's settings: its name is that of the store, and the output's volume is the card's own, in one
# place: 100 % is 0 dB, and what either side sets, the other shows.
scenario_settings() {
    session_world
    session_run "pw-dump > /run/lab/dump; awk -F '\"' '/\"(device.description|device.icon-name|node.description|node.nick)\"/ { print \$2, \$4 }' /run/lab/dump | sort -u"
    settings=$OUTPUT
    for one in "device.description Lab" "device.icon-name audio-card-analog" "node.description Lab Stereo" "node.nick first"; do
        echo "$settings" | grep -qx "$one" || fail "no $one in $settings"
    done
    note "$(echo "$settings" | tr '\n' ',')"
    session_run "for set in 1.0 0.5; do wpctl set-volume @DEFAULT_AUDIO_SINK@ \$set; sleep 0.3; session_level Playback; done
        amixer -q -c 0 cset name='PCM Playback Volume' 10000; soon 5 session_shows SINK 1.00; wpctl get-volume @DEFAULT_AUDIO_SINK@"
    levels=$(echo "$OUTPUT" | tr '\n' ' ')
    [ "$levels" = "10000,10000 8194,8194 Volume: 1.00 " ] || fail "100 %, 50 %, and set by amixer: $levels"
    note "100 % and 50 %, and set by amixer: $levels"
    session_run "wpctl set-volume @DEFAULT_AUDIO_SOURCE@ 0.5; sleep 0.3; session_level Capture; wpctl set-volume @DEFAULT_AUDIO_SOURCE@ 1.0"
    note "input at 50 %: $OUTPUT"
}

# Playback, capture, and both at once at each quantum. The card is opened at each quantum, since PipeWire keeps the
# period that it has chosen. A player's wake-ups are those of its START, and four a second: PipeWire wants none, but its
# period of 1024 frames would be 47 a second.
scenario_quantum() {
    session_world
    for quantum in 1024 512 256 128; do
        # At 128 frames, the start or end of a player keeps the only processor longer than a cycle: the player's second
        # cycle may be silent, and PipeWire may drop a cycle of the recorder. The card has lost nothing.
        [ $quantum -ge 256 ] && gaps="" jumps="" || gaps=--gaps jumps="--jumps 4"
        session_run "session_set clock.force-quantum $quantum; session_made 19$quantum 49152; session_made 18$quantum 49152"
        session_quiet 3 "before=\$(card_interrupts); session_play 19$quantum 49152 && echo \$((\$(card_interrupts) - before))"
        played=$OUTPUT
        session_run session_suspend
        heard session 0-0 "19$quantum" --frames 49152 --late ${gaps:+"$gaps"}
        [ "$played" -le 24 ] || fail "$played interrupts while 1.02 s were played"
        note "$quantum: played, $played interrupts: $COMPARED"
        session_quiet 3 "before=\$(card_interrupts); session_record 2 && echo \$((\$(card_interrupts) - before)) interrupts"
        note "recorded: $OUTPUT"
        session_run session_suspend
        session_quiet 4 "session_record 2 $jumps > /run/lab/said 2>&1 & soon 5 session_captures; session_play 18$quantum 49152; echo player: \$?
            wait \$!; echo recorder: \$?; cat /run/lab/said"
        case $OUTPUT in *"player: 0"*"recorder: 0"*) ;; *) fail "$quantum, both at once: $OUTPUT" ;; esac
        note "both at once: $OUTPUT"
        session_run session_suspend
        heard session 0-0 "18$quantum" --frames 49152 --late ${gaps:+"$gaps"}
        note "and $COMPARED"
    done
    session_run "session_set clock.force-quantum 0; session_xruns; true"
    note "xruns that PipeWire counted: $OUTPUT"
}

# A minute of playback and capture at once, with the quantum that PipeWire chooses: the card's two nodes and those of the
# programs run, and pw-top counts no error.
scenario_watched() {
    session_world
    session_run "session_made 170 3072000" 200
    session_quiet 66 "session_made 170 3072000; pw-record /run/lab/session.wav & recorder=\$!; pw-play \$session_file & player=\$!; sleep 2
        session_top 60; top=\$?; kill \$recorder \$player; wait \$recorder \$player; rm /run/lab/session.wav; [ \$top = 0 ]"
    case $OUTPUT in *"4 run,"*" 0 since") ;; *) fail "$OUTPUT" ;; esac
    note "$OUTPUT"
    session_run session_suspend
}

# The session manager suspends what is idle for five seconds, which closes the card. The next stream opens it again, and
# loses nothing. A stream of another rate switches the card's rate where nothing else plays.
scenario_idle() {
    session_world
    session_run "session_set clock.allowed-rates '[ 44100 48000 ]'"
    for rate in 48000 44100 48000; do
        session_run "soon 10 session_sleeps && session_made 17$rate 49152 $rate && pw-play \$session_file
            awk '/^rate:/ { print \$2 }' /proc/asound/card0/pcm0p/sub0/hw_params; sleep 0.3"
        [ "$OUTPUT" = "$rate" ] || fail "a stream of $rate Hz, a card of $OUTPUT Hz"
        heard session 0-0 "17$rate" --frames 49152 --late
        note "after being suspended, $rate Hz: $COMPARED"
    done
    session_run "soon 10 session_sleeps && session_record 2"
    note "recorded: $OUTPUT"
    session_run "soon 10 session_sleeps"
}

# A client that opens and closes a stream fifty times, with a part of a recording in each, as a browser does with a
# page's sounds: the parts are heard one after another, with silence between them.
scenario_browser() {
    session_world
    session_run "vsnd-lab make --frames 102400 --seed 160 /run/lab/160.raw; vsnd-lab make --frames 2048 --seed 160 /run/lab/part.wav
        head -c \$((\$(wc -c < /run/lab/part.wav) - 8192)) /run/lab/part.wav > /run/lab/header
        for n in \$(seq 0 49); do { cat /run/lab/header; tail -c +\$((n * 8192 + 1)) /run/lab/160.raw | head -c 8192; } > /run/lab/part-\$n.wav; done"
    session_run "for n in \$(seq 0 49); do pw-play /run/lab/part-\$n.wav || exit; done; sleep 0.3" 120
    heard session 0-0 160 --frames 102400 --late --gaps
    note "50 streams, one after another: $COMPARED"
    session_run "pw-cli ls Node | grep -c pw-play; [ \$(pw-cli ls Node | grep -c node.name) = 4 ]"
    session_run "soon 10 session_sleeps"
}
