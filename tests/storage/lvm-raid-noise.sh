# RAID 1 and 5 of LVM on disks that hold noise: both must be consistent afterwards.
create() {
    one_part lvm "$d1" "$d2" "$d3"
    group vg "$(part "$d1" 1)" "$(part "$d2" 1)" "$(part "$d3" 1)"
    volume --type raid1 -m 1 -L 32M -n one vg
    volume --type raid5 -i 2 -L 32M -n five vg
    mkfs.ext4 -q /dev/vg/one
    mkfs.ext4 -q /dev/vg/five
}
stale() {
    for disk in "$d1" "$d2" "$d3"; do dd if=/dev/urandom of="$disk" bs=1M seek=1 count=96 conv=fsync status=none; done
}
check() {
    for name in one five; do
        lvchange -q --syncaction check vg/$name
        for _ in $(seq 300); do
            [ "$(lvs --noheadings -o raid_sync_action vg/$name | tr -d ' ')" = idle ] && break
            sleep 0.2
        done
        [ "$(lvs --noheadings -o raid_mismatch_count vg/$name | tr -d ' ')" = 0 ]
    done
}
