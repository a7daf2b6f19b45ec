# A container on RAID 1, LVM in it.
create() {
    one_part raid "$d1" "$d2"
    md 0 --name=crypt --level=1 --raid-devices=2 --bitmap=internal --assume-clean "$(part "$d1" 1)" "$(part "$d2" 1)"
    luks /dev/md0 md0_crypt --type luks2
    group vg /dev/mapper/md0_crypt
    volume -n root -L 100M vg
    mkfs.ext4 -q /dev/vg/root
}
