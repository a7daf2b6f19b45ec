# SUSE's way: a default subvolume that is a snapshot, nested subvolumes, quotas.
create() {
    one_part linux "$d1"
    mkfs.btrfs -q "$(part "$d1" 1)"
    at "$(part "$d1" 1)" top
    cd /mnt/t/top
    btrfs -q subvolume create @
    for name in var usr_local home; do btrfs -q subvolume create "@/$name"; done
    mkdir -p @/boot/grub2
    btrfs -q subvolume create @/boot/grub2/i386-pc
    chattr +C @/var
    btrfs -q subvolume create @/.snapshots
    mkdir @/.snapshots/1
    btrfs -q subvolume snapshot @ @/.snapshots/1/snapshot
    btrfs subvolume set-default @/.snapshots/1/snapshot
    btrfs quota enable /mnt/t/top
    cd /
    umount /mnt/t/top
}
up() {
    at "$(part "$d1" 1)" root
    at "$(part "$d1" 1)" subvol=@/var var
}
