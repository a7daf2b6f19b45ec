# A volume group of which every extent is taken by a thin pool and a volume.
create() {
    one_part lvm "$d1"
    group filled "$(part "$d1" 1)"
    volume -n boot -L 32M filled
    volume --type thin-pool -l 100%FREE -n pool filled
    # The spare for the pool's metadata makes way for the pool.
    free=$(vgs --noheadings -o vg_free_count filled | tr -d ' ')
    [ "$free" = 0 ] || lvextend -q -l "+$free" filled/pool
    [ "$(vgs --noheadings -o vg_free_count filled | tr -d ' ')" = 0 ]
    volume -V 100M --thinpool pool -n root filled
    mkfs.ext4 -q /dev/filled/boot
    mkfs.ext4 -q /dev/filled/root
}
