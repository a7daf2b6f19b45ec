# Quota groups with limits and a group above them.
create() {
    one_part linux "$d1"
    mkfs.btrfs -q "$(part "$d1" 1)"
    at "$(part "$d1" 1)" top
    btrfs quota enable /mnt/t/top
    btrfs -q subvolume create /mnt/t/top/a
    btrfs -q subvolume create /mnt/t/top/b
    btrfs qgroup create 1/100 /mnt/t/top
    btrfs qgroup assign --no-rescan "0/$(btrfs inspect-internal rootid /mnt/t/top/a)" 1/100 /mnt/t/top || true
    btrfs qgroup limit 64M 1/100 /mnt/t/top
    btrfs qgroup limit -e 32M /mnt/t/top/b
    btrfs quota rescan -w /mnt/t/top
}
up() { mountpoint -q /mnt/t/top || at "$(part "$d1" 1)" top; }
