# The same volume group again over itself, active, with thin volumes.
KEEP=1
create() {
    one_part lvm "$d1"
    group vg "$(part "$d1" 1)"
    volume -n root -L 64M vg
    volume --type thin-pool -L 64M -n pool vg
    volume -V 64M --thinpool pool -n thin vg
    mkfs.ext4 -q /dev/vg/root
    mkfs.ext4 -q /dev/vg/thin
}
stale() { vgchange -q -ay vg; udevadm settle; }
