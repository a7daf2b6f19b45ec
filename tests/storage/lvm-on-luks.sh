# A volume group inside a container, as installers make it.
create() {
    echo 'label: gpt
size=64M
size=400M' | table "$d1"
    mkfs.ext2 -q -L boot "$(part "$d1" 1)"
    luks "$(part "$d1" 2)" sda2_crypt --type luks2
    group host-vg /dev/mapper/sda2_crypt
    volume -n root -L 150M host-vg
    volume -n swap_1 -L 32M host-vg
    mkfs.ext4 -q /dev/host-vg/root
    mkswap -q /dev/host-vg/swap_1
}
