# Subvolumes inside subvolumes, one read-only, none mounted by itself (files and their flags are not part of this drill).
create() {
    one_part linux "$d1"
    mkfs.btrfs -q -n 16384 --csum xxhash "$(part "$d1" 1)"
    at "$(part "$d1" 1)" top
    btrfs -q subvolume create /mnt/t/top/a
    btrfs -q subvolume create /mnt/t/top/a/b
    mkdir -p /mnt/t/top/a/b/dir
    btrfs -q subvolume create '/mnt/t/top/a/b/dir/c d'
    btrfs -q subvolume create /mnt/t/top/frozen
    btrfs property set /mnt/t/top/frozen ro true
}
up() { mountpoint -q /mnt/t/top || at "$(part "$d1" 1)" top; }
