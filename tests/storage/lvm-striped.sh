# A volume over three physical volumes in stripes, and one in parts.
create() {
    one_part lvm "$d1" "$d2" "$d3"
    group vg "$(part "$d1" 1)" "$(part "$d2" 1)" "$(part "$d3" 1)"
    volume -n stripes -i 3 -I 128k -L 96M vg
    volume -n parts -l 10 vg "$(part "$d1" 1)"
    lvextend -q -l +10 vg/parts "$(part "$d3" 1)"
    lvextend -q -l +5 vg/parts "$(part "$d2" 1)"
    mkfs.ext4 -q /dev/vg/stripes
    mkfs.ext4 -q /dev/vg/parts
}
