# A volume group that is left alone but shares a disk with what is recreated: refused while the machine is alive.
RULES="EXCLUDE_VG=data"
EXPECT="refused: (EXCLUDE_VG names data), but its disk"
create() {
    echo 'label: gpt
size=256M
size=256M, type=lvm' | table "$d1"
    mkfs.ext4 -q "$(part "$d1" 1)"
    group data "$(part "$d1" 2)"
    volume -n files -L 100M data
    mkfs.ext4 -q /dev/data/files
}
up() {
    at "$(part "$d1" 1)" sys
    at /dev/data/files files
}
