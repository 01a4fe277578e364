# Players, guests and daemons that vanish.
# shellcheck shell=sh

scenario_killed() {
    world a
    must_run a "play 0,0 6 240000 & sleep 2; kill -9 \$(pidof aplay); wait; play 0,0 7"
    heard a 0-0 7
    note "after kill -9: $COMPARED"
    killed_file=$WAVS/$(guest_id a)-0-0-0.wav
    vsnd-lab compare --seed 6 --frames 240000 --at-least 48000 "$killed_file" > /run/lab/compared ||
        fail "the killed player: $(cat /run/lab/compared)"
    note "the killed one: $(cat /run/lab/compared)"
}

scenario_stopped() {
    world a
    must_run a "play 0,0 8 192000 & sleep 1; kill -STOP \$(pidof aplay); sleep 2; kill -CONT \$(pidof aplay); wait \$!"
    echo "$OUTPUT" | grep -q underrun || fail "there was no xrun: $OUTPUT"
    heard a 0-0 8 --frames 192000 --gaps
    note "SIGSTOP for 2 s, $(echo "$OUTPUT" | grep -o 'underrun.*'): $COMPARED"
    must_run a "play 0,0 9"
    heard a 0-0 9
    note "and the next: $COMPARED"
}

scenario_twenty() {
    world a
    must_run a "for n in 1 2 3 4 5 6 7 8 9 10; do play 0,0 2\$n 3000 || exit 1; done
        aplay -q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 \$(for n in 1 2 3 4 5 6 7 8 9 10; do
            echo /run/lab/play-2\$n-3000.raw
        done)"
    base=$WAVS/$(guest_id a)-0-0-0
    soon 3 [ -e "$base-20.wav" ] || fail "not all of 20 files were heard"
    for number in $(seq 1 20); do
        file=$base-$number.wav
        [ "$number" != 1 ] || file=$base.wav
        vsnd-lab compare --frames 3000 --seed "2$(((number - 1) % 10 + 1))" "$file" > /run/lab/compared ||
            fail "file $number of 20: $(cat /run/lab/compared)"
    done
    note "20 of 20, 10 players and one player of 10 files, each: $(cat /run/lab/compared)"
}

# holdings: resources of Xen and of the system that the daemon and its workers hold, as they and the hypervisor see
# them.
holdings() {
    pids="$(daemon_pid) $(workers)"
    echo "processes $(echo "$pids" | wc -w)," \
        "grant mappings $(for pid in $pids; do cat "/proc/$pid/maps"; done | grep -c gntdev)," \
        "event channels $(for pid in $pids; do for fd in "/proc/$pid/fd/"*; do readlink "$fd"; done; done | grep -c evtchn)," \
        "fds $(for pid in $pids; do find "/proc/$pid/fd" -type l; done | wc -l)," \
        "threads $(for pid in $pids; do find "/proc/$pid/task" -maxdepth 1 -mindepth 1; done | wc -l)," \
        "pages that Xen has mapped $(mapped_pages), watches of everybody $(watches)"
}

holdings_are() { [ "$(holdings)" = "$1" ]; }

# watches: watches of all clients of the store's daemon. Only our clients come and go meanwhile.
watches() {
    rm -f /run/lab/memory-report
    xenstore-control memreport /run/lab/memory-report > /dev/null && grep -c 'struct watch ' /run/lab/memory-report
}

# mapped_pages: mapped grants of all guests, counted by the hypervisor.
mapped_pages() {
    xl dmesg -c > /dev/null
    xl debug-keys g
    xl dmesg > /run/lab/grants
    # The first eight references are for Xen's console and store, not for drivers.
    grep '^(XEN) \[0x' /run/lab/grants | grep -vc '\[0x00[0-7]\]'
}

scenario_destroy() {
    world b
    before=$(holdings)
    guest_start a
    guest_begin b "play 0,0 10 480000"
    guest_begin a "play 0,0 11 480000 & record 0,0 100 480000"
    sleep 3
    during=$(holdings)
    [ "$during" != "$before" ] || fail "the counts do not change when a guest plays: $before"
    began=$(now_ms)
    guest_stop a
    took=$(($(now_ms) - began))
    most=2000
    # The end of the device model takes two seconds.
    [ "$GUEST_TYPE" != hvm ] || most=4000
    [ $took -le $most ] || fail "xl destroy took $took ms"
    guest_wait b 20 || fail "aplay in b: $OUTPUT"
    heard b 0-0 10 --frames 480000
    note "xl destroy while playing and recording: $took ms"
    note "the other guest: $COMPARED"
    soon 5 holdings_are "$before" || fail "before: $before, while playing: $during, after: $(holdings)"
    note "$before, as before (while playing: $during)"
}

# The worker of one guest is killed: only that guest notices, and its card comes back.
scenario_worker() {
    world a b
    guest_begin b "play 0,0 14 480000"
    guest_begin a "play 0,0 15 480000"
    sleep 2
    worker=$(worker_of a)
    { [ -n "$worker" ] && [ -n "$(worker_of b)" ]; } || fail "no worker for each guest: $(workers)"
    group=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$worker/cgroup")
    bounds=$(cat "$group/memory.max" "$group/pids.max" "$group/cpu.max" | tr '\n' ' ')
    [ "$bounds" = "1342177280 1024 100000 100000 " ] || fail "the worker's group $group has the bounds $bounds"
    began=$(now_ms)
    kill -KILL "$worker"
    soon 5 worker_is_another a "$worker" || fail "nobody serves guest a: $(tail -n2 "$DAEMON_LOG")"
    took=$(($(now_ms) - began))
    guest_wait a 30
    note "player of the killed worker: status $?; another worker after $took ms"
    [ ! -e "$group" ] || fail "the killed worker's control group is there still"
    note "control group: $bounds"
    card_back a
    must_run a "play 0,0 16"
    heard a 0-0 16
    note "the next player: $COMPARED"
    guest_wait b 20 || fail "aplay in b: $OUTPUT"
    heard b 0-0 14 --frames 480000
    note "the other guest: $COMPARED"
    must_run a no_complaints
}

# worker_is_another GUEST PROCESS: true if the guest has a worker other than PROCESS.
worker_is_another() { [ -n "$(worker_of "$1")" ] && [ "$(worker_of "$1")" != "$2" ]; }

scenario_daemon() {
    world a
    guest_begin a "play 0,0 12 480000"
    sleep 2
    began=$(now_ms)
    daemon_kill KILL
    daemon_start
    guest_wait a 30
    note "player of the killed daemon: status $?, after $((($(now_ms) - began) / 1000)) s"
    card_back a
    must_run a "play 0,0 13"
    heard a 0-0 13
    note "the next player: $COMPARED"
    must_run a no_complaints
    mapped=$(mapped_pages)
    # Two pages are mapped for each of the eight streams.
    [ "$mapped" = 16 ] || fail "$mapped pages of the guest are mapped, expected 16"
    note "no page is left granted, $mapped are mapped"
}
