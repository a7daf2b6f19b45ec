# Only one volume group is recreated; another one, on LUKS on a mirror of two whole disks, stays bit-identical.
RULES="ONLY_INCLUDE_VG=sys"
PRESERVE="d2 d3"
create() {
    one_part lvm "$d1"
    group sys "$(part "$d1" 1)"
    volume -n root -L 100M sys
    mkfs.ext4 -q /dev/sys/root
    md 5 --level=1 --raid-devices=2 --metadata=1.2 --bitmap=internal --assume-clean "$d2" "$d3"
    luks /dev/md5 crypt
    group data /dev/mapper/crypt
    volume -n files -L 100M data
    mkfs.ext4 -q /dev/data/files
}
up() {
    [ -e /dev/md5 ] || mdadm --assemble --quiet /dev/md5 "$d2" "$d3"
    udevadm settle
    open /dev/md5 crypt
    vgchange -q -ay
    udevadm settle
    at /dev/sys/root root
    at /dev/data/files files
}
