# Says what each row of the lab runs: reads scenarios.list, prints "ROW SECONDS SCENARIO...".
#
# kernels, drivers: lists of words; a row is KERNEL-DRIVER. shared=1: each scenario runs once with each driver that it is about,
# with different drivers on different kernels where there are two, and on the row that has the least to do; otherwise all that
# concern a row's driver run there. only: a list of scenarios that run on every row, whatever the list says.
BEGIN {
    kernel_count = split(kernels, kernel, " ")
    driver_count = split(drivers, driver, " ")
    only_count = split(only, named, " ")
    for (n = 1; n <= only_count; n++) for_all(named[n], 0)
}

/^#/ || NF == 0 || only_count { next }

{
    about = $2
    everywhere = sub(/\+$/, "", about) || !shared
    for (d = 1; d <= driver_count; d++) {
        if (about != "driver" && driver[d] != (about == "vsnd" ? "vsnd" : "stock")) continue
        if (everywhere) {
            for (k = 1; k <= kernel_count; k++) add(kernel[k], driver[d], $1, $3)
        } else {
            add(least_busy(driver[d], about == "driver" ? taken[$1] : ""), driver[d], $1, $3)
        }
    }
}

END {
    for (d = 1; d <= driver_count; d++)
        for (k = 1; k <= kernel_count; k++) {
            row = kernel[k] "-" driver[d]
            if (row in scenarios) print row, seconds[row] + 0, scenarios[row]
        }
}

function add(of_kernel, of_driver, name, takes,    row) {
    row = of_kernel "-" of_driver
    scenarios[row] = scenarios[row] " " name
    seconds[row] += takes
    taken[name] = of_kernel
}

function for_all(name, takes,    d, k) {
    for (d = 1; d <= driver_count; d++)
        for (k = 1; k <= kernel_count; k++) add(kernel[k], driver[d], name, takes)
}

# The kernel whose row with this driver has the least to do; not `avoided`, if there is another.
function least_busy(of_driver, avoided,    k, best) {
    for (k = 1; k <= kernel_count; k++) {
        if (kernel[k] == avoided && kernel_count > 1) continue
        if (best == "" || seconds[kernel[k] "-" of_driver] < seconds[best "-" of_driver]) best = kernel[k]
    }
    return best
}
