# Draws the race from the table that race.awk prints: gnuplot -e "table='FILE'" race.gnuplot > PICTURE.svg
set terminal svg size 1000,840 dynamic font "sans-serif,13" background "white"
set termoption noenhanced
set multiplot layout 3,2
set style data histograms
set style histogram clustered gap 1
set style fill solid noborder
set yrange [0:*]
set offsets 0, 0, graph 0.15, 0
set border 3 lc "#888888"
set tics nomirror scale 0 textcolor rgb "black"
set grid ytics lc "#dddddd"
set xtics font ",10"
set bmargin 3.5
set xrange [-0.6:4.6]
set key top left samplen 1
first = "#1b6ca8"
second = "#e0a030"

# One column of the table of streams, periods of 10 ms, as lines of NAME PLAYBACK RECORDING, for the rows that an awk condition selects.
streams(name, column, which) = sprintf("< awk '$1 == \"play-10ms\" && %s { name[++n] = %s; play[n] = $%d } $1 == \"record-10ms\" && %s { record[++m] = $%d } END { for (i = 1; i <= n; i++) print name[i], play[i], record[i] }' %s", which, name, column, which, column, table)
# One column of the table below it, as lines of NAME VALUE.
positions(column) = sprintf("< awk '/^the position/ { below = 1; next } below && $2 != \"other\" { print $1, $%d }' %s", column, table)
guest = "$2"
both = "\"\\\"\" ($3 == \"other\" ? \"other backend\" : $3) \"\\\\n\" $2 \"\\\"\""
label(value) = sprintf(value < 10 ? "%.3g" : "%.0f", value)

set title "Notifications and register accesses to the host, per 10 ms"
plot streams(guest, 4, "$3 != \"other\"") using 2:xtic(1) title "playback" lc rgb first, "" using 3 title "recording" lc rgb second, \
    "" using ($0 - 0.17):2:(label($2)) with labels offset 0, 0.6 notitle, "" using ($0 + 0.17):3:(label($3)) with labels offset 0, 0.6 notitle
unset key
set title "Interrupts of the guest, per 10 ms"
plot streams(guest, 5, "$3 != \"other\"") using 2:xtic(1) lc rgb first, "" using 3 lc rgb second, \
    "" using ($0 - 0.17):2:(label($2)) with labels offset 0, 0.6, "" using ($0 + 0.17):3:(label($3)) with labels offset 0, 0.6
set title "Error of the position, 99th percentile, us"
plot positions(4) using 2:xtic(1) lc rgb first, "" using 0:2:(label($2)) with labels offset 0, 0.6
set title "Shortest buffer of two periods without an xrun, ms"
plot positions(5) using 2:xtic(1) lc rgb first, "" using 0:2:(label($2)) with labels offset 0, 0.6
set xrange [-0.6:1.6]
set title "Processor time of a guest on Xen, ms per second of sound"
plot streams(guest, 6, "$3 == \"vsndd\"") using 2:xtic(1) lc rgb first, "" using 3 lc rgb second, \
    "" using ($0 - 0.17):2:(label($2)) with labels offset 0, 0.6, "" using ($0 + 0.17):3:(label($3)) with labels offset 0, 0.6
set xrange [-0.6:3.6]
set title "Processor time of the backend, ms per second of sound"
plot streams(both, 7, "$3 != \"qemu\"") using 2:xtic(1) lc rgb first, "" using 3 lc rgb second, \
    "" using ($0 - 0.17):2:(label($2)) with labels offset 0, 0.6, "" using ($0 + 0.17):3:(label($3)) with labels offset 0, 0.6
