# LVM on a disk with sectors of 4096 bytes.
create() {
    one_part lvm "$k1"
    group vg "$(part "$k1" 1)"
    volume -n root -L 64M vg
    volume -n swap -L 32M vg
    mkfs.ext4 -q /dev/vg/root
    mkswap -q /dev/vg/swap
}
