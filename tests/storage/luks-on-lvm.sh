# Containers on two volumes of a group, one of them LUKS 1.
create() {
    one_part lvm "$d1"
    group vg "$(part "$d1" 1)"
    volume -n home -L 100M vg
    volume -n swap -L 64M vg
    luks /dev/vg/home home_crypt --type luks2
    luks /dev/vg/swap swap_crypt --type luks1
    mkfs.ext4 -q /dev/mapper/home_crypt
    mkswap -q /dev/mapper/swap_crypt
}
