# RAID 1 of LVM with a region size of its own.
create() {
    one_part lvm "$d1" "$d2"
    group vg "$(part "$d1" 1)" "$(part "$d2" 1)"
    volume --type raid1 -m 1 -R 1M -L 64M -n one vg
    mkfs.ext4 -q /dev/vg/one
}
