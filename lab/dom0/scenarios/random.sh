# A process or guest that ends at any moment leaves nothing behind (DRIVER=vsnd).
# shellcheck shell=sh

# moment: pseudo-random seconds until something ends, the same sequence in every run.
moment() {
    moment_number=$((moment_number + 1))
    awk "BEGIN { srand($moment_number); printf \"%.3f\", 0.05 + rand() * 2 }"
}

# driver_holdings GUEST: resources of the guest's driver: allocations of pages, event channels, references to the
# module.
driver_holdings() {
    guest_run "$1" "echo buffers \$(grep -c vsnd_pages_new /proc/vmallocinfo), \
        event channels \$(grep -cE 'vsnd-(ring|events)' /proc/interrupts), \
        references \$(awk '\$1 == \"vsnd_front\" { print \$3 }' /proc/modules)" > /dev/null
    echo "$OUTPUT"
}

driver_holdings_are() { [ "$(driver_holdings "$1")" = "$2" ]; }

no_workers() { [ -z "$(workers)" ]; }

scenario_random() {
    world a
    must_run a "play 0,0 80 4800"
    before=$(driver_holdings a)
    moment_number=0
    for ended in daemon application; do
        for _ in 1 2 3; do
            guest_begin a "play 0,0 81 192000 & play 0,1 81 192000 & play 1,0 81 192000 -M &
                arecord -q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 -s 192000 /dev/null &
                sleep $(moment); [ $ended = daemon ] || kill -KILL \$(pidof aplay arecord); wait; true"
            if [ $ended = daemon ]; then
                sleep "$(moment)"
                daemon_kill KILL
                daemon_start
            fi
            guest_wait a 40 || fail "$ended: $OUTPUT"
            card_back a
            must_run a "play 0,0 82 9600"
            heard a 0-0 82 --frames 9600
            soon 5 driver_holdings_are a "$before" || fail "$ended killed: before: $before, after: $(driver_holdings a)"
        done
    done
    must_run a no_complaints
    mapped=$(mapped_pages)
    [ "$mapped" = 16 ] || fail "$mapped pages of the guest are mapped, expected 16"
    note "daemon 3 times, players and recorder 3 times: $before, $mapped pages mapped, as before"
    guest_stop a
    soon 5 no_workers || fail "the worker of a guest that is gone: $(workers)"
    host_before=$(holdings)
    for _ in 1 2 3; do
        guest_start a
        guest_begin a "play 0,0 83 480000 & record 0,0 100 480000"
        sleep 1
        sleep "$(moment)"
        guest_stop a
        soon 5 holdings_are "$host_before" || fail "guest destroyed: before: $host_before, after: $(holdings)"
    done
    note "guest 3 times: $host_before, as before"
}

# No memory leaks, as the kernel `debug` reports after the module was removed.
scenario_leaks() {
    world a
    must_run a "grep -E '^ *debug_locks: *1$' /proc/lockdep_stats"
    note "lockdep has watched all the time"
    must_run a "play 0,0 84 && record 0,0 100 && mount -t debugfs debugfs /sys/kernel/debug"
    must_run a "cd /sys/bus/xen/drivers/vsnd_front && echo vsnd-0 > unbind && cd / && rmmod vsnd_front && sleep 6
        echo scan > /sys/kernel/debug/kmemleak; sleep 6; echo scan > /sys/kernel/debug/kmemleak
        cat /sys/kernel/debug/kmemleak; [ -z \"\$(cat /sys/kernel/debug/kmemleak)\" ]" 120
    note "kmemleak knows of nothing"
    guest_stop a
}
