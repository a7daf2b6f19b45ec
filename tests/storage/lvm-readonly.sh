# A volume that LVM gives out read-only: refused with what to do.
EXPECT="refused: lvchange --permission rw"
create() {
    one_part lvm "$d1"
    group vg "$(part "$d1" 1)"
    volume -n readonly -L 16M vg
    mkfs.ext4 -q /dev/vg/readonly
    lvchange -q -an vg/readonly
    lvchange -q -pr vg/readonly
    lvchange -q -ay vg/readonly
}
