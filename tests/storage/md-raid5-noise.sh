# RAID 5 on disks that hold noise: its parity must be right afterwards.
create() {
    one_part raid "$d1" "$d2" "$d3"
    md 0 --level=5 --raid-devices=3 --size=32768 --chunk=64 "$(part "$d1" 1)" "$(part "$d2" 1)" "$(part "$d3" 1)"
    mkfs.ext4 -q /dev/md0
}
stale() {
    for disk in "$d1" "$d2" "$d3"; do dd if=/dev/urandom of="$disk" bs=1M seek=1 count=48 conv=fsync status=none; done
}
check() {
    echo check > /sys/block/md0/md/sync_action
    for _ in $(seq 300); do
        [ "$(cat /sys/block/md0/md/sync_action)" = idle ] && break
        sleep 0.2
    done
    [ "$(cat /sys/block/md0/md/mismatch_cnt)" = 0 ]
}
