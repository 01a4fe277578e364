# The daemon plays to a sound card of dom0, snd-aloop, whose other end is recorded; the card is removed and comes back.
# shellcheck shell=sh

LOOPBACK=/sys/bus/platform/drivers/snd_aloop

# daemon_with LINE...: starts the daemon with a configuration of these lines. The daemon is root, since dom0 gives no
# group access to sound cards.
daemon_with() {
    daemon_kill
    printf '%s\n' "$@" > /run/lab/vsndd.toml
    daemon_launch
}

# mixed_pcm PERIOD: writes a typical /etc/asound.conf, with which programs can share a card.
mixed_pcm() {
    modprobe snd-aloop
    cat > /etc/asound.conf << END
pcm.mixed {
    type dmix
    ipc_key 2018
    slave { pcm "hw:Loopback,0,1" rate 48000 channels 2 format S16_LE period_size $1 buffer_size $(($1 * 4)) }
}
END
}

# devices_world: starts guest a, whose streams play in different ways to dom0's card, and two of them to sound servers.
devices_world() {
    [ ! -e /run/lab/devices ] || return 0
    world
    # Before the daemon enters its sandbox: as a client of PipeWire, the daemon needs PipeWire's modules.
    [ -e /bin/pipewire ] || (cd / && cpio -id < /lab/pipewire.cpio 2> /dev/null)
    mixed_pcm 1024
    daemon_with 'sink = "alsa:hw:Loopback,0,0"' 'source = "alsa:hw:Loopback,0,3"' 'capture = true' \
        '[[rule]]' 'pcm = 0' 'stream = 1' 'sink = "pulse:lab@unix:/run/lab/pulse.socket"' \
        '[[rule]]' 'pcm = 0' 'stream = 2' 'sink = "pipewire:lab@unix:/run/lab/pipewire-0"' \
        '[[rule]]' 'pcm = 1' 'stream = 0' 'sink = "alsa:mixed"' \
        '[[rule]]' 'pcm = 1' 'stream = 1' 'sink = "alsa:plug:mixed"' \
        '[[rule]]' 'pcm = 1' 'stream = 2' "sink = \"alsa:plug:'hw:Loopback,0,2'\"" \
        '[[rule]]' 'pcm = 1' 'stream = 3' "source = \"alsa:plug:'hw:Loopback,0,4'\""
    guest_start a
    touch /run/lab/devices
}

# loopback_record SECONDS SUBDEVICE: records the card's other end into $WAVS/loopback.wav.
loopback_record() {
    arecord -q -D "hw:Loopback,1,$2" -f S16_LE -r 48000 -c 2 -d "$1" "$WAVS/loopback.wav" &
    recorder_pid=$!
}

# recorded_is FILE COMMAND...: waits for the recording and checks it with `vsnd-lab COMMAND...`.
recorded_is() {
    recording=$1
    shift
    wait $recorder_pid
    vsnd-lab "$@" "$WAVS/$recording" > /run/lab/compared 2>&1 || fail "$recording: $(cat /run/lab/compared)"
    note "$recording: $(cat /run/lab/compared)"
}

# logged TEXT: true if the daemon has logged TEXT since the scenario began.
logged() { tail -n +"$log_begin" "$DAEMON_LOG" | grep -q "$1"; }

devices_end() {
    daemon_kill
    rm -f /run/lab/vsndd.pid /run/lab/devices
    guest_stop_all
}

# The sound of a guest arrives at the card's other end, byte by byte, followed by silence. What is played at another end
# arrives in the guest that records, between silence; also through a plugin.
scenario_aloop() {
    devices_world
    loopback_record 3 0
    must_run a "play 0,0 32 96000 s16_le 48000 2 --period-size=480 --buffer-size=1920"
    recorded_is loopback.wav compare --seed 32 --frames 96000 --late
    # The silence is longer than the player's ring, which the card goes on playing behind its end.
    { vsnd-lab make --frames 72000 --seed 33 /run/lab/aloop.raw && head -c 384000 /dev/zero >> /run/lab/aloop.raw; } || fail "no recording"
    for one in 0/3 1/4; do
        guest_begin a "arecord -q -D hw:0,${one%/*} -t raw -f S16_LE -r 48000 -c 2 --period-size=480 --buffer-size=1920 -d 3 /run/lab/aloop.raw &&
            vsnd-lab compare --seed 33 --frames 72000 --late /run/lab/aloop.raw"
        sleep 0.5
        aplay -q -D "hw:Loopback,1,${one#*/}" -t raw -f S16_LE -r 48000 -c 2 /run/lab/aloop.raw
        guest_wait a 20 || fail "recorded from ${one#*/}: $OUTPUT"
        note "recorded from ${one#*/}: $OUTPUT"
    done
}

# Two streams share the card, one of them through a further plugin; their positions still follow the clock. A third has
# a rate that a plugin converts to the card's.
scenario_mixed() {
    devices_world
    loopback_record 5 1
    must_run a "play 1,0 41 168000 s16_le 48000 2 --period-size=1024 --buffer-size=4096 &
        sleep 0.5
        play 1,1 42 120000 s16_le 48000 2 --period-size=1024 --buffer-size=4096 &
        sleep 0.5
        real_time 1,0 48000 && real_time 1,1 48000 || exit
        wait"
    note "$(echo "$OUTPUT" | grep ' frames in ' | tr '\n' ' ')"
    recorded_is loopback.wav mixed --seed 41 --frames 168000 --other-seed 42 --other-frames 120000
    loopback_record 3 2
    must_run a "play 1,2 43 88200 s16_le 44100 2 & sleep 0.5; real_time 1,2 44100 || exit; wait \$!"
    note "at 44100 Hz: $(echo "$OUTPUT" | grep ' frames in ')"
    wait $recorder_pid
    bytes=$(unsilenced < "$WAVS/loopback.wav" | wc -c)
    [ "$bytes" -gt 370000 ] || fail "of 2 s at 44100 Hz $bytes bytes are no silence"
}

# Eight channels in the right order, and gaps after which nothing is lost: at dom0's card in the card's order, and at a
# server whose sink has another order.
scenario_surround() {
    world
    modprobe snd-aloop
    (cd / && cpio -id < /lab/desktop.cpio 2> /dev/null)
    daemon_with 'sink = "alsa:hw:Loopback,0,0"' '[[rule]]' 'stream = 1' 'sink = "pulse:lab@unix:/run/lab/pulse.socket"'
    guest_start a "[['CARD, short-name=Surround, channels-max=8', 'PCM, name=all', 'STREAM, unique-id=p0, type=p',
        'STREAM, unique-id=p1, type=p']]"
    arecord -q -D hw:Loopback,1,0 -t raw -f S16_LE -r 48000 -c 8 -d 3 "$WAVS/eight.raw" &
    recorder_pid=$!
    must_run a "play 0,0 63 96000 s16_le 48000 8 --period-size=480 --buffer-size=1920"
    recorded_is eight.raw compare --seed 63 --frames 96000 --channels 8 --late

    arecord -q -D hw:Loopback,1,0 -t raw -f S16_LE -r 48000 -c 8 -d 9 "$WAVS/gaps.raw" &
    recorder_pid=$!
    must_run a "play 0,0 64 192000 s16_le 48000 8 --period-size=480 --buffer-size=1920 & sleep 1; kill -STOP \$(pidof aplay)
        sleep 2; kill -CONT \$(pidof aplay); sleep 0.5; kill -STOP \$(pidof aplay); sleep 0.3; kill -CONT \$(pidof aplay); wait"
    recorded_is gaps.raw compare --seed 64 --frames 192000 --channels 8 --late --gaps

    map=front-left,front-right,front-center,lfe,rear-left,rear-right,side-left,side-right
    pulse_start "module-null-sink sink_name=lab rate=48000 format=s16le channels=8 channel_map=$map" > /run/lab/pulse-start.log ||
        fail "PulseAudio does not start: $(tail -n1 /run/lab/pulse-start.log)"
    parecord --raw --latency-msec=20 --device=lab.monitor --rate=48000 --format=s16le --channels=8 \
        --channel-map=front-left,front-right,rear-left,rear-right,front-center,lfe,side-left,side-right > "$WAVS/server.raw" &
    recorder_pid=$!
    soon 10 [ -s "$WAVS/server.raw" ] || fail "the sink's monitor gives nothing"
    must_run a "vsnd-lab make --channels 8 --frames 96000 --seed 65 /run/lab/65.raw && { head -c 153600 /dev/zero; cat /run/lab/65.raw; } |
        aplay -D hw:0,0,1 -t raw -f S16_LE -r 48000 -c 8 --period-size=2400 --buffer-size=9600"
    sleep 1
    kill -INT $recorder_pid
    recorded_is server.raw compare --seed 65 --frames 96000 --channels 8 --late
    kill $pulse_pid
    devices_end
}

# A guest gets the requested period and buffer if the device supports them, otherwise the device's.
scenario_bounded() {
    devices_world
    for bound in "0,0 240 960" "1,0 1024 2048"; do
        # shellcheck disable=SC2086  # three words
        set -- $bound
        must_run a "play $1 44 9600 s16_le 48000 2 -v --period-size=240 --buffer-size=960"
        sizes=$(echo "$OUTPUT" | sed -n 's/^ *\(period\|buffer\)_size *: //p' | tr '\n' ' ')
        [ "$sizes" = "$3 $2 " ] || fail "stream $1 has a buffer and a period of $sizes"
        note "stream $1: asked for 240 and 960 frames, got $2 and $3"
    done
    for state in /proc/asound/Loopback/pcm0p/sub?/status; do
        [ "$(cat "$state")" = closed ] || fail "$state: $(cat "$state")"
    done
}

# play_to_server SEED STREAM: plays a recording in the guest to a server's sink, then ends the recorder. Silence comes
# first: a server begins a stream within data that it has rendered already, and that the monitor's recorder has read.
play_to_server() {
    must_run a "vsnd-lab make --frames 144000 --seed $1 /run/lab/$1.raw && { head -c 38400 /dev/zero; cat /run/lab/$1.raw; } |
        aplay -D hw:0,0,$2 -t raw -f S16_LE -r 48000 -c 2 --period-size=2400 --buffer-size=9600"
    sleep 1
    kill -INT $recorder_pid
}

# The sound that a guest plays to a sound server of dom0 is heard at the server's sink, byte by byte.
scenario_server() {
    devices_world
    (cd / && cpio -id < /lab/desktop.cpio 2> /dev/null)
    sound="rate=48000 format=s16le channels=2"
    pulse_start "module-null-sink sink_name=lab $sound" > /run/lab/pulse-start.log ||
        fail "PulseAudio does not start: $(tail -n1 /run/lab/pulse-start.log)"
    # shellcheck disable=SC2086,SC2046  # three words
    parecord --raw --latency-msec=20 --device=lab.monitor $(printf -- '--%s ' $sound) > "$WAVS/monitor.raw" &
    recorder_pid=$!
    soon 10 [ -s "$WAVS/monitor.raw" ] || fail "the sink's monitor gives nothing"
    play_to_server 45 1
    recorded_is monitor.raw compare --seed 45 --frames 144000 --late
    kill $pulse_pid
}

# The same by PipeWire's own protocol, with the session manager that connects the stream to its sink.
scenario_pipewire() {
    devices_world
    pipewire_start /lab/pipewire.conf > /run/lab/pipewire-start.log || fail "$(cat /run/lab/pipewire-start.log)"
    pw-record --target lab -P '{ stream.capture.sink = true }' --format s16 --rate 48000 --channels 2 --latency 20ms \
        "$WAVS/monitor.wav" &
    recorder_pid=$!
    soon 10 recorder_has_begun || fail "the sink's monitor gives nothing: $(tail -n1 /run/lab/pipewire.log)"
    play_to_server 46 2
    recorded_is monitor.wav compare --seed 46 --frames 144000 --late
    # shellcheck disable=SC2086  # two numbers
    kill $pipewire_pids
}

recorder_has_begun() { [ "$(stat -c %s "$WAVS/monitor.wav" 2>/dev/null || echo 0)" -gt 4096 ]; }

# The card is removed while a player uses it, and comes back: the player notices nothing, the daemon logs both.
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

# The card is missing when the daemon starts: the daemon starts, logs that, and refuses the stream with ENODEV or
# discards its sound.
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
