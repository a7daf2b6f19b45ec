# A volume behind a cache pool that holds data back.
create() {
    one_part lvm "$d1" "$n1"
    group vg "$(part "$d1" 1)" "$(part "$n1" 1)"
    volume -n slow -L 128M vg "$(part "$d1" 1)"
    volume --type cache-pool -L 32M --cachemode writeback -n fast vg "$(part "$n1" 1)"
    lvconvert -q -y --type cache --cachepool vg/fast vg/slow
    mkfs.ext4 -q /dev/vg/slow
}
