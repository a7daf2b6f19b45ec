# Subvolumes inside subvolumes, one read-only, one without copy-on-write, none mounted by itself.
create() {
    one_part linux "$d1"
    mkfs.btrfs -q -n 16384 --csum xxhash "$(part "$d1" 1)"
    at "$(part "$d1" 1)" top
    btrfs -q subvolume create /mnt/t/top/a
    btrfs -q subvolume create /mnt/t/top/a/b
    mkdir -p /mnt/t/top/a/b/dir
    btrfs -q subvolume create '/mnt/t/top/a/b/dir/c d'
    btrfs -q subvolume create /mnt/t/top/nocow
    chattr +C /mnt/t/top/nocow
    btrfs -q subvolume create /mnt/t/top/frozen
    btrfs property set /mnt/t/top/frozen ro true
}
up() { mountpoint -q /mnt/t/top || at "$(part "$d1" 1)" top; }
check() { lsattr -d /mnt/t/top/nocow | grep -q '^[^ ]*C'; }
