# btrfs in a container on RAID 1.
create() {
    one_part raid "$d1" "$d2"
    md 0 --level=1 --raid-devices=2 --bitmap=none --assume-clean "$(part "$d1" 1)" "$(part "$d2" 1)"
    luks /dev/md0 crypt --type luks2
    mkfs.btrfs -q /dev/mapper/crypt
    at /dev/mapper/crypt top
    btrfs -q subvolume create /mnt/t/top/@
    umount /mnt/t/top
}
up() { at /dev/mapper/crypt subvol=@ root; }
