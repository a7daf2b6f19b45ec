# A mirror of the old kind, with its log on a third disk.
create() {
    one_part lvm "$d1" "$d2" "$d3"
    group vg "$(part "$d1" 1)" "$(part "$d2" 1)" "$(part "$d3" 1)"
    volume --type mirror -m 1 --nosync -L 64M -n old vg
    # The kernel keeps the word nosync only as long as the volume stays active.
    lvchange -an vg/old
    lvchange -ay vg/old
    mkfs.ext4 -q /dev/vg/old
}
