# RAID 6 of LVM over five disks.
create() {
    group vg "$d1" "$d2" "$d3" "$d4" "$d5"
    volume --type raid6 -i 3 -I 64k -L 48M -n six vg
    mkfs.ext4 -q /dev/vg/six
}
