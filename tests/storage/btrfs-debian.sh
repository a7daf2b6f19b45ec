# Debian's way: @rootfs, @home and a snapshot, mounted by name.
create() {
    one_part linux "$d1"
    mkfs.btrfs -q "$(part "$d1" 1)"
    at "$(part "$d1" 1)" top
    btrfs -q subvolume create /mnt/t/top/@rootfs
    btrfs -q subvolume create /mnt/t/top/@home
    btrfs -q subvolume snapshot -r /mnt/t/top/@home /mnt/t/top/@home-before
    umount /mnt/t/top
}
up() {
    at "$(part "$d1" 1)" subvol=@rootfs root
    at "$(part "$d1" 1)" subvol=@home home
}
