# Four partitions: data as RAID 10, metadata as RAID1C3, in another order than the disks.
create() {
    one_part linux "$d1" "$d2" "$d3" "$d4"
    mkfs.btrfs -q -d raid10 -m raid1c3 "$(part "$d3" 1)" "$(part "$d1" 1)" "$(part "$d4" 1)" "$(part "$d2" 1)"
    udevadm settle
    at "$(part "$d1" 1)" top
}
up() { mountpoint -q /mnt/t/top || at "$(part "$d1" 1)" top; }
