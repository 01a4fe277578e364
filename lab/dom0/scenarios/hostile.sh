# A hostile guest, beside one that plays.
# shellcheck shell=sh

# daemon_memory_kb: memory that the daemon has allocated and touched. The program's text is not included: it is in
# dom0's RssShmem, and grows with each part that runs for the first time.
daemon_memory_kb() {
    for pid in $(daemon_pid) $(workers); do cat "/proc/$pid/status"; done | awk '/^RssAnon:/ { sum += $2 } END { print sum }'
}

# authority_of GUEST PROBE ANSWER: checks the answer that the worker of a guest logged for a probe.
authority_of() {
    said=$(tail -n "+$log_begin" "$DAEMON_LOG" | sed -n "s#.*probe of the worker of domain $(guest_id "$1"): $2: ##p" | tail -n1)
    case $said in
        *"$3"*) note "$2: $said" ;;
        *) fail "$2: $said, expected: $3" ;;
    esac
}

# A worker that a guest has taken over can access only the resources of that guest.
scenario_authority() {
    world a b
    daemon_kill
    log_begin=$(($(wc -l < "$DAEMON_LOG") + 1))
    other=$(guest_id b)
    daemon_config > /run/lab/vsndd.toml
    probes="map:$other:8 map:0:8 bind:$other:1 bind:0:1 store-read:/local/domain/$other/name store-read:/local/domain/0/backend/vsnd/$other
        store-write:/local/domain/$other/device/vsnd/0/state store-write:/local/domain/$(guest_id a)/device/vsnd/0/state
        read:/dev/xen/gntdev read:/dev/xen/evtchn read:/dev/xen/privcmd read:/dev/xen/xenbus read:/run/xenstored/socket
        call:xen-map call:xen-grant call:xen-bind
        call:execve call:ptrace call:kill call:exec-shared call:exec-written call:exec-memfd call:setuid"
    # shellcheck disable=SC2046 # a list of words
    daemon_launch --user vsnd $(for probe in $probes; do echo "--worker-probe $probe"; done)
    for probe in $probes; do
        case $probe in
            map:*) authority_of a "$probe" "granted to another domain" ;;
            bind:*) authority_of a "$probe" "reserved for another domain" ;;
            store-*) authority_of a "$probe" EACCES ;;
            read:/run/*) authority_of a "$probe" "os error" ;;
            read:*) authority_of a "$probe" "Permission denied" ;;
            *) authority_of a "$probe" "Operation not permitted" ;;
        esac
    done
    card_back a
    must_run a "play 0,0 47"
    heard a 0-0 47
    note "and plays: $COMPARED"
}

scenario_hostile() {
    world b
    # Room for a buffer with a page directory of two pages, so that the directory can be circular.
    bad="[['CARD, short-name=Bad, buffer-size=4194304', 'PCM, name=main', 'STREAM, unique-id=p, type=p']]"
    # A short run first, so that everything is allocated that is needed once and that the heap keeps: mainly the rings
    # of the other guest's files, of which two may exist at the same time.
    guest_start a "$bad" lab.nodriver
    guest_begin a "vsnd-lab-hostile 500"
    must_run b "play 0,0 48 48000"
    guest_wait a 30 || fail "the hostile guest: $(echo "$OUTPUT" | tail -n3)"
    guest_stop a
    must_run b "play 0,0 49 48000; play 0,0 50 48000"
    before=$(holdings)
    # The heap keeps memory once; a leak of 64 bytes with each of 10000 packets, signals or nodes is more, in each
    # round.
    for attempt in 1 2; do
        memory_before=$(daemon_memory_kb)
        hostile_beside
        memory=$(($(daemon_memory_kb) - memory_before))
        [ $memory -ge 512 ] || break
    done
    note "$OUTPUT"
    note "the other guest meanwhile, $rounds times: $COMPARED"
    [ "$memory" -lt 512 ] || fail "the daemon needs $memory kB more than before, each time"
    note "$before, as before, memory +$memory kB in round $attempt, $logged_lines lines logged"
}

# hostile_beside: guest a runs all attacks while b plays, and is stopped.
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

# guest_answered_by NAME: true if the guest's command has ended.
guest_answered_by() {
    case $(xenstore-read "$(guest_path "$1")/data/lab/status") in
        "$(cat "/run/lab/$1.number") "*) true ;;
        *) false ;;
    esac
}
