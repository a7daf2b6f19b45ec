# A backing device with its cache: recreated, or refused with what to do.
EXPECT="refused: bcache"
create() {
    one_part linux "$d1" "$n1"
    make-bcache -B "$(part "$d1" 1)" -C "$(part "$n1" 1)"
    echo "$(part "$d1" 1)" > /sys/fs/bcache/register 2> /dev/null || true
    echo "$(part "$n1" 1)" > /sys/fs/bcache/register 2> /dev/null || true
    sleep 1
    udevadm settle
    mkfs.ext4 -q /dev/bcache0
}
