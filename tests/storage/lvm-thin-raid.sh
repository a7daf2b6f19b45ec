# A thin pool whose data and metadata are RAID 1.
create() {
    one_part lvm "$d1" "$d2"
    group vg "$(part "$d1" 1)" "$(part "$d2" 1)"
    volume --type raid1 -m 1 --nosync -L 96M -n pool vg
    volume --type raid1 -m 1 --nosync -L 8M -n meta vg
    lvconvert -q -y --type thin-pool --poolmetadata vg/meta vg/pool
    volume -V 64M --thinpool pool -n root vg
    mkfs.ext4 -q /dev/vg/root
}
