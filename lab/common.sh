# What every domain of the lab does first. Sourced by the init scripts.
# shellcheck shell=sh

export PATH=/bin LD_LIBRARY_PATH=/lib HOME=/
for programs in /usr/lib/xen-*/bin; do PATH=$PATH:$programs; done
# GUEST_TYPE and BUS.
. /lab/platform

mount_all() {
    busybox mount -t proc proc /proc
    # The shell is all that there is yet. What is not busybox's stays.
    busybox --install -s /bin 2>/dev/null
    mount -t sysfs sys /sys
    mount -t devtmpfs dev /dev 2>/dev/null
    mkdir -p /dev/pts /dev/shm
    mount -t devpts devpts /dev/pts
    mount -t tmpfs tmpfs /run
    mkdir -p /run/xen /run/xenstored /run/lock /run/lab
    for module in xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs; do
        modprobe "$module"
    done
    mount -t xenfs xenfs /proc/xen
    # Warnings are for the console: that is where complaints are looked for.
    echo 5 > /proc/sys/kernel/printk
}

# soon SECONDS COMMAND...: whether the command succeeds within that time.
soon() {
    soon_until=$(($(now_ms) + $1 * 1000))
    shift
    until "$@"; do
        [ "$(now_ms)" -lt "$soon_until" ] || return 1
        sleep 0.05
    done
}

# now_ms: milliseconds since the domain was started, in steps of 10.
now_ms() {
    read -r uptime _ < /proc/uptime
    # Below a second the digits begin with 0, which would make them octal.
    echo "$((${uptime%.*} * 1000 + 1${uptime#*.} * 10 - 1000))"
}

# What is not silence, of samples that are signed integers.
unsilenced() { tr -d '\000'; }

# pulse_start MODULE...: PulseAudio with these modules, where its programs are; its process in $pulse_pid.
pulse_start() {
    export XDG_RUNTIME_DIR=/run/lab LD_LIBRARY_PATH=/lib:/lib/pulse PULSE_SERVER=unix:/run/lab/pulse.socket
    for pulse_module; do
        shift
        set -- "$@" -L "$pulse_module"
    done
    pulseaudio -n --dl-search-path=/lib/pulse --exit-idle-time=-1 --use-pid-file=no --disable-shm \
        --log-target=newfile:/run/lab/pulse.log "$@" -L "module-native-protocol-unix socket=/run/lab/pulse.socket" &
    pulse_pid=$!
    soon 20 pactl info > /run/lab/pactl 2>&1 || { cat /run/lab/pulse.log* /run/lab/pactl; kill $pulse_pid; return 1; }
}

# pipewire_start CONFIGURATION: PipeWire and its session manager, where their programs are; their processes in $pipewire_pids.
pipewire_start() {
    export XDG_RUNTIME_DIR=/run/lab PIPEWIRE_RUNTIME_DIR=/run/lab WIREPLUMBER_CONFIG_DIR=/etc/pipewire
    pipewire -c "$1" > /run/lab/pipewire.log 2>&1 &
    pipewire_pids=$!
    soon 10 [ -e /run/lab/pipewire-0 ] || { echo "PipeWire does not start: $(tail -n1 /run/lab/pipewire.log)"; return 1; }
    wireplumber -c /etc/pipewire/wireplumber.conf >> /run/lab/pipewire.log 2>&1 &
    pipewire_pids="$! $pipewire_pids"
}
