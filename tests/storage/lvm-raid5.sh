# RAID 5 and RAID 4 of LVM.
create() {
    group vg "$d1" "$d2" "$d3"
    volume --type raid5 -i 2 -I 64k -L 32M -n five vg
    volume --type raid4 -i 2 -I 64k -L 32M -n four vg
    mkfs.ext4 -q /dev/vg/five
    mkfs.ext4 -q /dev/vg/four
}
