# A volume with a snapshot of the old kind: the snapshot itself does not come back.
EXPECT="refused: snapshot"
create() {
    one_part lvm "$d1"
    group vg "$(part "$d1" 1)"
    volume -n root -L 64M vg
    mkfs.ext4 -q /dev/vg/root
    lvcreate -q -y -s -n before -L 16M vg/root
}
