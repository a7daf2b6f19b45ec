# A physical volume on a whole disk without a table, and one on NVMe.
create() {
    group vg "$d1" "$n1"
    volume -n all -l 100%FREE vg
    mkfs.ext4 -q /dev/vg/all
}
