# A guest that means harm, beside one that plays.
# shellcheck shell=sh

daemon_memory_kb() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(daemon_pid)/status"; }

scenario_hostile() {
    world b
    # Room for a buffer with a page directory of two pages, so that there can be a circle in it.
    bad="[['CARD, short-name=Bad, buffer-size=4194304', 'PCM, name=main', 'STREAM, unique-id=p, type=p']]"
    guest_start a "$bad" lab.nodriver
    guest_stop a
    before=$(holdings)
    memory_before=$(daemon_memory_kb)
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
    note "$OUTPUT"
    note "the other guest meanwhile, $rounds times: $COMPARED"
    daemon_lives || fail "the daemon is gone"
    tail -n "+$log_before" "$DAEMON_LOG" | grep -q "directory comes back" || fail "the circular directory was not seen"
    guest_stop a
    soon 5 holdings_are "$before" || fail "before: $before, after: $(holdings)"
    memory=$(($(daemon_memory_kb) - memory_before))
    [ $memory -lt 2048 ] || fail "the daemon needs $memory kB more than before"
    note "$before, as before, memory +$memory kB, $(($(wc -l < "$DAEMON_LOG") - log_before)) lines logged"
}

holdings_are() { [ "$(holdings)" = "$1" ]; }

# guest_answered_by NAME: whether the command that was begun has ended.
guest_answered_by() {
    case $(xenstore-read "$(guest_path "$1")/data/lab/status") in
        "$(cat "/run/lab/$1.number") "*) true ;;
        *) false ;;
    esac
}
