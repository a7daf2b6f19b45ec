# FAT12, FAT16 and FAT32, with and without a label.
create() {
    echo 'label: dos
size=4M, type=1
size=32M, type=6
size=64M, type=c
size=300M, type=c' | table "$d1"
    mkfs.vfat -F 12 -n SMALL "$(part "$d1" 1)"
    mkfs.vfat -F 16 -i 12345678 "$(part "$d1" 2)"
    mkfs.vfat -F 32 -s 1 -n 'A LABEL' "$(part "$d1" 3)"
    mkfs.vfat -F 32 -s 4 -R 16 -f 1 "$(part "$d1" 4)"
}
