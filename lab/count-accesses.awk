# Counts, in QEMU's trace, the messages of a guest's driver to its card: accesses to registers and notifications of
# queues, each of which interrupts the guest's execution. Only those between `begin ROW` and `end ROW` count, which the
# guest writes to its second serial port. Prints "ROW to-host NUMBER".
function digit(text, at) { return index("0123456789abcdef", substr(text, at, 1)) - 1 }

$NF == "'serial'" {
    if ($1 != "memory_region_ops_write" || $7 != "0x2f8") next
    code = length($9) == 3 ? digit($9, 3) : digit($9, 3) * 16 + digit($9, 4)
    if (code >= 32) said = said sprintf("%c", code)
    if (code != 10) next
    if (split(said, word, " ") == 2 && word[1] == "begin") {
        row = word[2]
        count[row] = 0
    }
    if (word[1] == "end") row = ""
    said = ""
}

row != "" && ($1 == "virtio_queue_notify" || $NF ~ /hda|ac97|virtio-pci-notify/) { count[row]++ }

END { for (row in count) print row, "to-host", count[row] }
