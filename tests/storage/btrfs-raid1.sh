# Data and metadata on two whole disks.
create() {
    mkfs.btrfs -q -d raid1 -m raid1 -L both "$d1" "$d2"
    udevadm settle
    at "$d1" top
    btrfs -q subvolume create /mnt/t/top/@
}
up() { mountpoint -q /mnt/t/top || at "$d1" top; }
