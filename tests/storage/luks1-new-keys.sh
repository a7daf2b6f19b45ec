# LUKS 1 whose header was not saved, with LVM in it.
NEW_KEYS=1
create() {
    one_part linux "$d1"
    luks "$(part "$d1" 1)" data --type luks1 --key-size 512
    group vg /dev/mapper/data
    volume -n root -L 64M vg
    mkfs.ext4 -q /dev/vg/root
}
