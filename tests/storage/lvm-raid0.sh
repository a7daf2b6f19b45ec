# RAID 0 of LVM, in both its kinds.
create() {
    group vg "$d1" "$d2"
    volume --type raid0 -i 2 -I 64k -L 64M -n zero vg
    volume --type raid0_meta -i 2 -L 64M -n meta vg
    mkfs.ext4 -q /dev/vg/zero
    mkfs.ext4 -q /dev/vg/meta
}
