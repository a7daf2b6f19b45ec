# A volume group that is left alone stays bit-identical while the other disk, with a group of its own, is recreated.
RULES="EXCLUDE_VG=/dev/data"
PRESERVE="d2"
create() {
    one_part lvm "$d1" "$d2"
    group sys "$(part "$d1" 1)"
    volume -n root -L 100M sys
    mkfs.ext4 -q /dev/sys/root
    group data "$(part "$d2" 1)"
    volume -n files -L 100M data
    mkfs.ext4 -q /dev/data/files
}
up() {
    vgchange -q -ay
    udevadm settle
    at /dev/sys/root root
    at /dev/data/files files
}
