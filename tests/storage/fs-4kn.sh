# Filesystems and swap on a disk with sectors of 4096 bytes.
create() {
    echo 'label: gpt
size=100M
size=310M
size=64M, type=swap
size=64M, type=uefi' | table "$k1"
    mkfs.ext4 -q "$(part "$k1" 1)"
    mkfs.xfs -q "$(part "$k1" 2)"
    mkswap -q -L four "$(part "$k1" 3)"
    mkfs.vfat -F 32 "$(part "$k1" 4)"
}
