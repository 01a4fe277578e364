# A guest that means harm, beside one that plays.
# shellcheck shell=sh

# What the daemon has allocated and touched. Its program's text counts in dom0's RssShmem, and grows with each part of it that
# runs for the first time.
daemon_memory_kb() { sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(daemon_pid)/status"; }

scenario_hostile() {
    world b
    # Room for a buffer with a page directory of two pages, so that there can be a circle in it.
    bad="[['CARD, short-name=Bad, buffer-size=4194304', 'PCM, name=main', 'STREAM, unique-id=p, type=p']]"
    # Once in small, so that everything is there that it needs once, and that the heap keeps: above all the rings of the other
    # guest's files, of which two may be there at once.
    guest_start a "$bad" lab.nodriver
    guest_begin a "vsnd-lab-hostile 500"
    must_run b "play 0,0 48 48000"
    guest_wait a 30 || fail "the hostile guest: $(echo "$OUTPUT" | tail -n3)"
    guest_stop a
    must_run b "play 0,0 49 48000; play 0,0 50 48000"
    before=$(holdings)
    # What the heap keeps it keeps once; a leak of 64 octets with each of 10000 packets, signals or nodes is more, each time.
    for attempt in 1 2; do
        memory_before=$(daemon_memory_kb)
        hostile_beside
        memory=$(($(daemon_memory_kb) - memory_before))
        [ $memory -ge 512 ] || break
    done
    note "$OUTPUT"
    note "the other guest meanwhile, $rounds times: $COMPARED"
    [ $memory -lt 512 ] || fail "the daemon needs $memory kB more than before, each time"
    note "$before, as before, memory +$memory kB in round $attempt, $logged_lines lines logged"
}

# hostile_beside: guest a does all the harm it can while b plays, and goes.
hostile_beside() {
    log_before=$(wc -l < "$DAEMON_LOG")
    guest_start a "$bad" lab.nodriver
    guest_begin a vsnd-lab-hostile
    rounds=0
    until guest_answered_by a; do
        rounds=$((rounds + 1))
        must_run b "play 0,0 $((50 + rounds)) 240000"
        heard b 0-0 $((50 + rounds)) --frames 240000
        [ $rounds -lt 20 ] || fail "the hostile guest does not come to an end"
    done
    guest_wait a 5 || fail "the hostile guest: $(echo "$OUTPUT" | tail -n3)"
    daemon_lives || fail "the daemon is gone"
    tail -n "+$log_before" "$DAEMON_LOG" | grep -q "directory comes back" || fail "the circular directory was not seen"
    guest_stop a
    soon 5 holdings_are "$before" || fail "before: $before, after: $(holdings)"
    logged_lines=$(($(wc -l < "$DAEMON_LOG") - log_before))
}

holdings_are() { [ "$(holdings)" = "$1" ]; }

# guest_answered_by NAME: whether the command that was begun has ended.
guest_answered_by() {
    case $(xenstore-read "$(guest_path "$1")/data/lab/status") in
        "$(cat "/run/lab/$1.number") "*) true ;;
        *) false ;;
    esac
}
