# A small one with mixed block groups and duplicated metadata, on LVM.
create() {
    one_part lvm "$d1"
    group vg "$(part "$d1" 1)"
    volume -n small -L 200M vg
    mkfs.btrfs -q --mixed -n 4096 -d dup -m dup /dev/vg/small
}
up() { at /dev/vg/small top; }
