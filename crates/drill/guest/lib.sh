# Functions for the scripts that run in helper machines.

# disk SERIAL: the block device with that serial number.
disk() {
    for entry in /sys/block/vd*; do
        if [ "$(cat "$entry/serial")" = "$1" ]; then
            echo "/dev/${entry##*/}"
            return 0
        fi
    done
    echo "no disk has the serial number $1" >&2
    return 1
}

say() {
    echo "== $*"
    echo "drill: $*" > /dev/console
}
