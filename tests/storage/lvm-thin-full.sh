# A volume group of which every extent is taken by a thin pool and a volume.
create() {
    one_part lvm "$d1"
    group full "$(part "$d1" 1)"
    volume -n boot -L 32M full
    volume --type thin-pool -l 100%FREE -n pool full
    # The spare for the pool's metadata makes way for the pool.
    free=$(vgs --noheadings -o vg_free_count full | tr -d ' ')
    [ "$free" = 0 ] || lvextend -q -l "+$free" full/pool
    volume -V 100M --thinpool pool -n root full
    mkfs.ext4 -q /dev/full/boot
    mkfs.ext4 -q /dev/full/root
}
