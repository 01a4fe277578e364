# Draws the race from the panels that race.awk writes: gnuplot -e "panels='FILE'" race.gnuplot > PICTURE.svg
set terminal svg size 1000,1120 dynamic font "sans-serif,13" background "white"
set termoption noenhanced
set multiplot layout 4,2
set style data histograms
set style histogram clustered gap 1
set style fill solid noborder
set datafile missing "-"
set yrange [0:*]
set offsets 0, 0, graph 0.15, 0
set border 3 lc "#888888"
set tics nomirror scale 0 textcolor rgb "black"
set grid ytics lc "#dddddd"
set xtics font ",10"
set bmargin 3.5
set key top left samplen 1

array called[8] = [ \
    "Notifications and register accesses to the host, per 10 ms", "Interrupts of the guest, per 10 ms", \
    "Error of the position, 99th percentile, us", "Shortest buffer of two periods without an xrun, ms", \
    "PipeWire: interrupts of the guest, per 1,024 frames", "PipeWire: shortest quantum without an error, frames (0: none)", \
    "Processor time of a guest on Xen, ms per second of sound", "Processor time of the backend, ms per second of sound" ]
playback = "#1b6ca8"
recording = "#e0a030"
label(value) = sprintf(value < 1000 ? "%.3g" : "%.0f", value)
do for [n = 1:8] {
    set title called[n]
    stats panels index n - 1 using 0 nooutput
    set xrange [-0.6:STATS_records - 0.4]
    if (n == 3 || n == 4 || n == 6) {
        plot panels index n - 1 using 2:xtic(1) notitle lc rgb playback, "" index n - 1 using 0:2:(label($2)) notitle with labels offset 0, 0.6
    } else {
        plot panels index n - 1 using 2:xtic(1) title "playback" lc rgb playback, "" index n - 1 using (column(3)) title "recording" lc rgb recording, \
            "" index n - 1 using ($0 - 0.17):2:(label($2)) notitle with labels offset 0, 0.6, \
            "" index n - 1 using ($0 + 0.17):3:(label($3)) notitle with labels offset 0, 0.6
    }
    unset key
}
