# Prints the table of the race from lines of GUEST HOST ROW NAME VALUE.
BEGIN {
    contenders = split("vsnd vsndd,stock vsndd,vsnd other,stock other,virtio qemu,hda qemu,ac97 qemu", contender, ",")
    called["vsnd"] = "vsnd_front"
    called["stock"] = "snd_xen_front"
    called["virtio"] = "virtio_snd"
    called["hda"] = "snd_hda_intel"
    called["ac97"] = "snd_intel8x0"
}

{
    value[$1 " " $2, $3, $4] = $5
    there[$1 " " $2]
}

function line(row, who,    periods, seconds, host) {
    split(who, word, " ")
    printf "%-11s  %-13s  %-5s", row, called[word[1]], word[2]
    periods = row == "idle" ? 0 : value[who, row, "periods"]
    seconds = value[who, row, "seconds"]
    host = word[2] == "qemu" ? value[who, row, "to-host"] : value[who, row, "to-daemon"]
    if (periods) printf "  %8.2f  %8.2f", host / periods, value[who, row, "to-guest"] / periods
    else printf "  %8s  %8s", "", ""
    printf "  %8.2f", value[who, row, "guest-cpu"] / seconds * 1000
    if (word[2] == "qemu") printf "  %8s\n", "-"
    else printf "  %8.2f\n", value[who, row, "daemon-cpu"] / seconds * 1000
}

END {
    print "per period: what the guest tells the host, and interrupts; milliseconds of processor time for each second of sound"
    printf "%-11s  %-13s  %-5s  %8s  %8s  %8s  %8s\n", "stream", "guest", "host", "to host", "to guest", "guest", "host"
    rows = split("idle play-10ms record-10ms play-100ms record-100ms", row, " ")
    for (r = 1; r <= rows; r++)
        for (c = 1; c <= contenders; c++)
            if (contender[c] in there) line(row[r], contender[c])
    print "\nthe position, in periods of 10 ms, off a straight line: half and 99 of 100 looks, in us; the shortest buffer of two periods, in ms"
    for (c = 1; c <= contenders; c++)
        if (contender[c] in there) {
            split(contender[c], word, " ")
            printf "%-13s  %-5s  %6d  %6d  %4d\n", called[word[1]], word[2], value[contender[c], "position", "us-half"],
                value[contender[c], "position", "us"], value[contender[c], "buffer", "ms"]
        }
}
