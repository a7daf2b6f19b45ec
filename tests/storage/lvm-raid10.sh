# RAID 10 of LVM over four disks.
create() {
    group vg "$d1" "$d2" "$d3" "$d4"
    volume --type raid10 -i 2 -m 1 -I 64k -L 64M -n ten vg
    mkfs.ext4 -q /dev/vg/ten
}
