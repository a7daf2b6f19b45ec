# A backing device with its cache: recreated, or refused with what to do.
EXPECT="refused: bcache"
create() {
    modprobe bcache
    one_part linux "$d1" "$n1"
    make-bcache -B "$(part "$d1" 1)" -C "$(part "$n1" 1)"
    echo "$(part "$d1" 1)" > /sys/fs/bcache/register 2> /dev/null || true
    echo "$(part "$n1" 1)" > /sys/fs/bcache/register 2> /dev/null || true
    for _ in $(seq 100); do
        [ -b /dev/bcache0 ] && break
        sleep 0.2
    done
    udevadm settle
    mkfs.ext4 -q /dev/bcache0
}
