# The daemon plays to a sound card of dom0, snd-aloop, whose other end is recorded; and the card goes and comes back.
# shellcheck shell=sh

LOOPBACK=/sys/bus/platform/drivers/snd_aloop

# daemon_with LINE...: the daemon, with a configuration of these lines.
daemon_with() {
    daemon_kill
    printf '%s\n' "$@" > /run/lab/vsndd.toml
    : > /run/lab/vsndd.out
    vsndd --config /run/lab/vsndd.toml --log vsndd=debug > /run/lab/vsndd.out 2>> "$DAEMON_LOG" &
    echo $! > /run/lab/vsndd.pid
    soon 30 grep -q serving /run/lab/vsndd.out || fail "the daemon does not start: $(tail -n1 "$DAEMON_LOG")"
}

# loopback_record SECONDS: the card's other end, into $WAVS/loopback.wav.
loopback_record() {
    arecord -q -D hw:Loopback,1 -f S16_LE -r 48000 -c 2 -d "$1" "$WAVS/loopback.wav" &
    recorder_pid=$!
}

# logged TEXT: whether the daemon has said so since the scenario began.
logged() { tail -n +"$log_begin" "$DAEMON_LOG" | grep -q "$1"; }

devices_end() {
    daemon_kill
    rm -f /run/lab/vsndd.pid
    guest_stop_all
}

# What a guest plays arrives at the card's other end, octet by octet. Not in the list of run.sh yet: after the last frame the card
# plays 2 ms of what its queue held before.
scenario_aloop() {
    world
    modprobe snd-aloop
    daemon_with 'sink = "alsa:hw:Loopback,0"'
    guest_start a
    must_run a "play 0,0 31 48000"
    loopback_record 4
    must_run a "play 0,0 32 96000 s16_le 48000 2 --period-size=480 --buffer-size=1920"
    wait $recorder_pid
    vsnd-lab compare --seed 32 --frames 96000 --late "$WAVS/loopback.wav" > /run/lab/compared 2>&1 ||
        fail "the card's other end: $(cat /run/lab/compared)"
    note "the card's other end: $(cat /run/lab/compared)"
    devices_end
}

# The card is taken away under a player, and brought back: the player notices nothing, the daemon says both.
scenario_unplugged() {
    world
    modprobe snd-aloop
    daemon_with 'sink = "alsa:hw:Loopback,0"'
    guest_start a
    log_begin=$(($(wc -l < "$DAEMON_LOG") + 1))
    guest_begin a "timed 12000 12000 play 0,0 33 576000 && ! dmesg | grep -i drain"
    sleep 2
    echo snd_aloop.0 > $LOOPBACK/unbind
    soon 5 logged "going on silently" || fail "the daemon does not say that the card is gone"
    sleep 2
    echo snd_aloop.0 > $LOOPBACK/bind
    soon 15 logged "is back and in use" || fail "the daemon does not use the card again: $(tail -n1 "$DAEMON_LOG")"
    guest_wait a 30 || fail "aplay: $OUTPUT"
    note "gone for 2 s and back: $(tail -n +"$log_begin" "$DAEMON_LOG" | grep -c 'going on silently') loss told, the player played on"
    devices_end
}

# A card that is not there when the daemon starts: it starts, says so, and refuses the stream with ENODEV or plays to nobody.
scenario_absent() {
    world
    log_begin=$(($(wc -l < "$DAEMON_LOG") + 1))
    daemon_with 'sink = "alsa:hw:7,0"' '[[rule]]' 'pcm = 1' 'when-absent = "silence"'
    logged "aplay -L" || fail "the daemon does not say what is missing"
    guest_start a
    if guest_run a "play 0,0 34 4800"; then fail "a stream to nowhere was opened"; fi
    must_run a "play 0,4 35 48000 || play 1,0 35 48000"
    note "refused, and played to nobody where that is configured"
    devices_end
}
