# The same btrfs over two disks again over itself.
KEEP=1
create() {
    mkfs.btrfs -q -d raid1 -m raid1 "$d1" "$d2"
    udevadm settle
    at "$d1" top
    btrfs -q subvolume create /mnt/t/top/sub
}
up() { mountpoint -q /mnt/t/top || at "$d1" top; }
