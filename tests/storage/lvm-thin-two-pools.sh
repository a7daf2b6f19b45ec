# Two pools, one without zeroing and without passing discards down, the other over two disks.
create() {
    one_part lvm "$d1" "$d2"
    group vg "$(part "$d1" 1)" "$(part "$d2" 1)"
    volume --type thin-pool -L 64M -c 64k -Zn --discards ignore -n plain vg
    volume --type thin-pool -L 128M -i 2 -I 64k -c 256k -n wide vg
    volume -V 48M --thinpool plain -n a vg
    volume -V 96M --thinpool wide -n b vg
    volume -V 96M --thinpool wide -n c vg
    mkfs.ext4 -q /dev/vg/a
    mkfs.xfs -q -f /dev/vg/b 2> /dev/null || mkfs.ext4 -q -F /dev/vg/b
    mkswap -q /dev/vg/c
}
