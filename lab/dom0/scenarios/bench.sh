# Costs of sound: notifications, requests, processor time, and the time until sound is heard. Not a test: `lab/bench.sh`
# runs these scenarios and makes a table of share/bench, which has lines of ROW NAME VALUE.
# shellcheck shell=sh

# Measured seconds; the stream also runs before and after them.
BENCH_SECONDS=100
# The guest whose streams are measured.
BENCH_GUEST=a

scenario_bench() {
    # At the level `debug` the daemon also measures the sound's peaks, which takes 6 ms of each second.
    VSND_LOG=vsndd=info
    world
    rm -f /share/bench
    guest_start a
    sound="-q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2"
    must_run a "head -c 1920 /dev/zero > /run/lab/short.raw; aplay $sound /run/lab/short.raw"
    bench_requests open 0-0-0
    bench_steady idle 480 true
    for milliseconds in 10 100; do
        frames=$((milliseconds * 48))
        buffer="--period-size=$frames --buffer-size=$((frames * 8)) -d $((BENCH_SECONDS + 7))"
        bench_steady play-${milliseconds}ms $frames "aplay $sound $buffer /dev/zero"
        bench_steady record-${milliseconds}ms $frames "arecord $sound $buffer /dev/null"
        # The stock driver has no mmap.
        [ "$(guest_module)" = vsnd_front ] || continue
        bench_steady play-${milliseconds}ms-mmap $frames "aplay -M $sound $buffer /dev/zero"
        bench_steady record-${milliseconds}ms-mmap $frames "arecord -M $sound $buffer /dev/null"
    done
    guest_stop a
}

bench_value() { echo "$*" >> /share/bench; }

# bench_steady ROW FRAMES-OF-A-PERIOD COMMAND: measures the costs of a running stream.
bench_steady() {
    # Daemon and guest count at different moments, for the same time. The names of the driver's interrupts are not
    # reliable, so all interrupts of Xen except those of the store and the console are counted.
    guest_begin "$BENCH_GUEST" "{ $3 || touch /run/lab/bad; } & sleep 3; cat /proc/interrupts > /run/lab/1; sleep $BENCH_SECONDS
        cat /proc/interrupts > /run/lab/2; wait; [ ! -e /run/lab/bad ] || exit 1
        awk '\$3 ~ \"^xen-dyn\" && !/xenbus|hvc_console/ {
            if (NR == FNR) was[\$1] = \$2; else sum += \$2 - was[\$1]
        } END { print sum + 0 }' /run/lab/1 /run/lab/2"
    sleep 4
    bench_counts > /run/lab/bench-before
    sleep $BENCH_SECONDS
    bench_counts > /run/lab/bench-after
    guest_wait "$BENCH_GUEST" 60 || fail "$1: $OUTPUT"
    # An xrun would be in the output, too, and its periods would be counted.
    case $OUTPUT in
        *[!0-9]*) fail "$1: $OUTPUT" ;;
    esac
    bench_value "$1" seconds $BENCH_SECONDS
    bench_value "$1" periods $((BENCH_SECONDS * 48000 / $2))
    bench_value "$1" to-guest "$OUTPUT"
    paste -d ' ' /run/lab/bench-before /run/lab/bench-after | while read -r what was _ is; do
        bench_value "$1" "$what" "$(awk "BEGIN { print $is - $was }")"
    done
}

# bench_counts: resources used so far. The daemon's event channels are in dom0's interrupts.
bench_counts() {
    cat /proc/interrupts > /run/lab/interrupts
    echo to-daemon "$(awk "/evtchn:${BENCH_PROCESS:-vsndd}/ { sum += \$2 } END { print sum + 0 }" /run/lab/interrupts)"
    echo daemon-cpu "$(bench_processor_time)"
    xl list | awk -v guest="$BENCH_GUEST" '$1 == "Domain-0" { print "dom0-cpu", $6 } $1 == guest { print "guest-cpu", $6 }'
}

# bench_processor_time: seconds of processor time of the backend so far. Its control group also counts threads and
# processes that have ended.
bench_processor_time() { awk '$1 == "usage_usec" { printf "%.6f\n", $2 / 1e6 }' "$DAEMON_GROUP/cpu.stat"; }

# The daemon and another backend of the same protocol, if the image has one: the costs of each for the same streams of
# the same guest, and the quality for the guest. `make race` runs this scenario; docs/performance.md has its results.
scenario_bench_race() {
    VSND_LOG=vsndd=info
    world
    rm -f /share/bench
    modprobe snd-dummy
    # The other backend takes its device from the guest's identifier of a stream.
    card="[['CARD, short-name=Race, sample-formats=s16_le', 'PCM, name=first',
        'STREAM, unique-id=alsa<hw:Dummy;0>, type=p', 'STREAM, unique-id=alsa<hw:Dummy;0>, type=c']]"
    daemon_with 'sink = "alsa:hw:Dummy,0"' 'source = "alsa:hw:Dummy,0"' 'capture = true'
    guest_start a "$card"
    bench_race vsndd
    guest_stop a
    bench_session
    daemon_kill
    if [ -e /bin/other-backend ]; then
        in_daemon_group other-backend > /run/lab/other-backend.log 2>&1 &
        echo $! > /run/lab/vsndd.pid
        BENCH_PROCESS=other-backend
        guest_start a "$card"
        bench_race other
        guest_stop a
        kill "$(daemon_pid)"
    else
        note "left out: the other backend (OTHER_BACKEND=program)"
    fi
    rm -f /run/lab/vsndd.pid
    rmmod snd-dummy
}

# bench_race BACKEND: measures the costs of each kind of stream, the accuracy of the guest's position, and the shortest
# buffer.
bench_race() {
    BENCH_SECONDS=200
    sound="-q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2"
    bench_steady "$1-idle" 480 true
    for milliseconds in 10 100; do
        frames=$((milliseconds * 48))
        buffer="--period-size=$frames --buffer-size=$((frames * 8)) -d $((BENCH_SECONDS + 7))"
        bench_steady "$1-play-${milliseconds}ms" $frames "aplay $sound $buffer /dev/zero"
        bench_steady "$1-record-${milliseconds}ms" $frames "arecord $sound $buffer /dev/null"
    done
    must_run a "positions_off aplay --buffer-size=1920" 20
    bench_value "$1-position" us-half "${OUTPUT%%[!0-9]*}"
    bench_value "$1-position" us "${OUTPUT##*[!0-9]}"
    guest_begin a shortest_buffer
    # Sleep meanwhile: a program that checks for the end would disturb the measurement.
    sleep 60
    guest_wait a 60 || fail "the shortest buffer: $OUTPUT"
    bench_value "$1-buffer" ms "$OUTPUT"
}

# bench_session: measures the costs of a desktop's session at the quantum that PipeWire chooses, and the shortest quantum
# at which it counts no error; only with the daemon: beside the other backend a guest whose PipeWire records hangs.
bench_session() {
    BENCH_SECONDS=60 BENCH_GUEST=session SESSION_CARD=$card
    session_world
    session_run "session_made 170 $(((BENCH_SECONDS + 7) * 48000)); echo \$session_file" 200
    session_file=$OUTPUT
    bench_steady "vsndd-play-pipewire" 1024 "session_environment; pw-play $session_file"
    bench_steady "vsndd-record-pipewire" 1024 \
        "session_environment; timeout -s INT $((BENCH_SECONDS + 7)) pw-record /run/lab/session.wav; true"
    session_run "wc -c < /run/lab/session.wav"
    bench_value "vsndd-record-pipewire" bytes "$OUTPUT"
    guest_begin session "session_environment; session_file=$session_file; session_shortest_quantum"
    sleep 80
    guest_wait session 60 || fail "the shortest quantum: $OUTPUT"
    bench_value "vsndd-quantum" frames "$OUTPUT"
    guest_stop session
    BENCH_GUEST=a
}

# bench_requests ROW STREAM: records the number of requests of the PCM that was closed last, the first one of this
# stream.
bench_requests() {
    soon 5 grep -q 'closed: .* connected' "$DAEMON_LOG"
    requests=$(sed -n 's/.*closed: .* connected, \([0-9]*\) requests.*/\1/p' "$DAEMON_LOG" | tail -n 1)
    bench_value "$1" requests "$requests"
}

# Measures the time from the start of aplay in the guest until dom0's sound card begins to play, the time from writing a
# frame until it is heard, and the shortest buffer. The card is snd-dummy, whose position follows a fine timer; that of
# snd-aloop advances in steps of four milliseconds. Clocks are compared by the processor's counter, since the wall
# clocks
# of the domains are milliseconds apart.
scenario_bench_start() {
    world
    modprobe snd-dummy
    # At the level `debug` the daemon also measures the sound's peaks.
    VSND_LOG=vsndd=info
    daemon_with 'sink = "alsa:hw:Dummy,0"'
    GUEST_TSC=native
    guest_start a
    sound="-q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2"
    must_run a "head -c 384000 /dev/zero > /run/lab/zero.raw"
    for round in 1 2 3 4 5 6 7 8; do
        # The first line: the clock when aplay is started.
        guest_begin a "sleep 0.0$round; vsnd-lab clock; aplay $sound --period-size=480 --buffer-size=1920 /run/lab/zero.raw &
            sleep 1; vsnd-lab positions /proc/asound/card0/pcm0p/sub0/status; wait"
        sleep 1.5
        { vsnd-lab clock && cat /proc/asound/Dummy/pcm0p/sub0/status; } > /run/lab/heard
        guest_wait a 20 || fail "aplay: $OUTPUT"
        echo "$OUTPUT" | awk '
            FILENAME != "-" && FNR == 1 { ahead = $1 - $2 }
            $1 == "trigger_time:" { heard = $2 * 1000 }
            FILENAME == "-" && FNR == 1 { ahead = (ahead - ($1 - $2)) / 1e6; began = $1 / 1e6 + ahead }
            FILENAME == "-" && NF == 3 {
                latency = $3 / 48 - ($1 / 1e6 + ahead - heard)
                sum += latency
                if (!looks++ || latency < least) least = latency
            }
            END {
                if (!looks || !heard) exit 1
                printf "start ms-%d %.1f\n", '$round', heard - began
                printf "latency ms-%d %.1f\n", '$round', sum / looks
                printf "least ms-%d %.1f\n", '$round', least
            }' /run/lab/heard - >> /share/bench || fail "round $round: $OUTPUT"
    done
    for busy in nobody host guest both; do
        bench_shortest $busy
    done
    # The same where worker and player run before other programs.
    guest_stop a
    daemon_with 'sink = "alsa:hw:Dummy,0"' '[worker]' 'realtime-priority = 5'
    guest_start a
    for busy in host guest both; do
        bench_shortest $busy first
    done
    guest_stop a
    GUEST_TSC=
    devices_end
}

# bench_shortest WHO [first]: measures the shortest buffer of two periods without an xrun in three seconds while another
# program in these domains uses the processor, too; 0 if even 80 ms are too short. The player is an ordinary program, or
# one that runs first.
bench_shortest() {
    shortest=0 hog='while :; do :; done'
    player=aplay
    [ -z "${2:-}" ] || player="first aplay"
    for milliseconds in 40 30 20 15 10 8 6 5 4 3 2 1; do
        frames=$((milliseconds * 48))
        case $1 in host | both) sh -c "$hog" & hog_pid=$! ;; *) hog_pid= ;; esac
        case $1 in guest | both) beside="sh -c '$hog' & hog_pid=\$!" ;; *) beside="hog_pid=" ;; esac
        guest_begin a "$beside
            sleep 0.3
            $player $sound --period-size=$frames --buffer-size=$((frames * 2)) -d 3 /dev/zero
            [ -z \"\$hog_pid\" ] || kill \$hog_pid"
        # Sleep meanwhile: a program that checks for the end would disturb the measurement.
        sleep 4.5
        [ -z "$hog_pid" ] || { kill "$hog_pid"; wait "$hog_pid"; }
        guest_wait a 60 || fail "$1, $milliseconds ms: $OUTPUT"
        case $OUTPUT in *run!!!*) break ;; ?*) fail "$1, $milliseconds ms: $OUTPUT" ;; esac
        shortest=$((milliseconds * 2))
    done
    bench_value "buffer-$1${2:+-$2}" ms $shortest
}

# Measures the number of streams that share dom0's card by dmix without an xrun. The guests are the benchmark's own, in
# its own emulated Xen.
scenario_bench_dmix() {
    guest_stop_all
    mixed_pcm 480
    vsnd-bench --only sinks --sink alsa:mixed --seconds 5 --out /run/lab/bench > /run/lab/bench.log 2>&1 ||
        fail "$(tail -n 3 /run/lab/bench.log)"
    most=$(sed -n 's/.*most without an xrun: //p' /run/lab/bench.log)
    note "$(grep '^  alsa:mixed' /run/lab/bench.log | tr -s ' ')"
    [ -n "$most" ] || fail "$(tail -n 5 /run/lab/bench.log)"
    bench_value dmix streams "$most"
}
