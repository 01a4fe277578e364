# What sound costs: notifications, requests, processor time, and the time until it is heard. Not a test: `lab/bench.sh`
# runs it and makes a table of share/bench, which has lines of ROW NAME VALUE.
# shellcheck shell=sh

# Seconds that are measured, while the stream runs on before and after.
BENCH_SECONDS=100

scenario_bench() {
    # At the level `debug` the daemon measures how loud the sound is, too, which takes 6 ms of each second.
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

# bench_steady ROW FRAMES-OF-A-PERIOD COMMAND: what a running stream costs.
bench_steady() {
    # Daemon and guest count at different moments, for equally long. The names of the driver's interrupts cannot be
    # relied on; what is left without those of Xen's store and console are its.
    guest_begin a "{ $3 || touch /run/lab/bad; } & sleep 3; cat /proc/interrupts > /run/lab/1; sleep $BENCH_SECONDS
        cat /proc/interrupts > /run/lab/2; wait; [ ! -e /run/lab/bad ] || exit 1
        awk '\$3 ~ \"^xen-dyn\" && !/xenbus|hvc_console/ {
            if (NR == FNR) was[\$1] = \$2; else sum += \$2 - was[\$1]
        } END { print sum + 0 }' /run/lab/1 /run/lab/2"
    sleep 4
    bench_counts > /run/lab/bench-before
    sleep $BENCH_SECONDS
    bench_counts > /run/lab/bench-after
    guest_wait a 60 || fail "$1: $OUTPUT"
    # An xrun would be said here too, and its periods counted.
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

# What has been used so far. The daemon's event channels count in dom0's interrupts.
bench_counts() {
    cat /proc/interrupts > /run/lab/interrupts
    echo to-daemon "$(awk '/evtchn:vsndd/ { sum += $2 } END { print sum + 0 }' /run/lab/interrupts)"
    echo daemon-cpu "$(awk '{ sum += $1 } END { print sum / 1e9 }' "/proc/$(daemon_pid)/task/"*/schedstat)"
    xl list | awk '$1 == "Domain-0" { print "dom0-cpu", $6 } $1 == "a" { print "guest-cpu", $6 }'
}

# bench_requests ROW STREAM: requests of the PCM that was closed last, the first one of this stream.
bench_requests() {
    soon 5 grep -q 'closed: .* connected' "$DAEMON_LOG"
    requests=$(sed -n 's/.*closed: .* connected, \([0-9]*\) requests.*/\1/p' "$DAEMON_LOG" | tail -n 1)
    bench_value "$1" requests "$requests"
}

# From the start of aplay in the guest to the moment when dom0's sound card begins to play; and from the moment when aplay
# writes a frame to the one when that card plays it. The wall clocks of the domains are both Xen's.
scenario_bench_start() {
    world
    daemon_kill
    modprobe snd-aloop
    sed -i '/^sink/d' /run/lab/vsndd.toml
    vsndd --sink alsa:hw:Loopback,0 > /run/lab/vsndd.out 2>> "$DAEMON_LOG" &
    echo $! > /run/lab/vsndd.pid
    guest_start a
    sound="-q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2"
    must_run a "head -c 384000 /dev/zero > /run/lab/zero.raw"
    for round in 1 2 3 4 5; do
        guest_begin a "adjtimex > /run/lab/began
            aplay $sound --period-size=480 --buffer-size=1920 /run/lab/zero.raw & sleep 1
            for sample in 1 2 3 4 5 6; do
                sleep 0.0\$sample; adjtimex; cat /proc/asound/card0/pcm0p/sub0/status
            done > /run/lab/samples
            wait; grep -hE 'tv_|appl_ptr' /run/lab/began /run/lab/samples"
        sleep 1
        grep trigger_time /proc/asound/Loopback/pcm0p/sub0/status > /run/lab/heard
        guest_wait a 20 || fail "aplay: $OUTPUT"
        # How far the wall clock is ahead of the one that ALSA uses. Later: it keeps dom0 from all else for some time.
        { adjtimex && cat /proc/timer_list /run/lab/heard; } > /run/lab/clocks
        case $OUTPUT in *run!!!*) note "round $round: $(echo "$OUTPUT" | grep 'run!!!')" ;; esac
        echo "$OUTPUT" | cat /run/lab/clocks - | awk '
            /tv_sec/ { seconds = $2 % 100000 }
            /tv_usec/ { now = seconds * 1000 + $2 / 1000; if (++clocks == 2) began = now }
            /^now at/ { ahead = now - $3 / 1000000 }
            /trigger_time/ { heard = $2 * 1000 + ahead }
            /appl_ptr/ && clocks > 2 { sum += $3 / 48 - (now - heard); samples++ }
            END {
                printf "start ms-%d %.1f\n", '$round', heard - began
                # After an xrun aplay counts anew.
                if (sum > 0) printf "latency ms-%d %.1f\n", '$round', sum / samples
            }' >> /share/bench
    done
    bench_shortest
    guest_stop a
    daemon_kill
    rm -f /run/lab/vsndd.pid
}

# The shortest buffer, of two periods, that does not run dry.
bench_shortest() {
    shortest=0
    for milliseconds in 40 20 10 5 4 3 2 1; do
        guest_run a "aplay $sound --period-size=$((milliseconds * 48)) --buffer-size=$((milliseconds * 96)) -d 5 /dev/zero"
        [ -z "$OUTPUT" ] || { note "$((milliseconds * 2)) ms: $(echo "$OUTPUT" | head -n 1)"; break; }
        shortest=$((milliseconds * 2))
    done
    bench_value buffer ms $shortest
}

# How many streams share dom0's card by dmix without an xrun. Their guests are the benchmark's own, in its own emulated Xen.
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
