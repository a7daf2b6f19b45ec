# A volume behind a write cache.
create() {
    one_part lvm "$d1" "$n1"
    group vg "$(part "$d1" 1)" "$(part "$n1" 1)"
    volume -n slow -L 128M vg "$(part "$d1" 1)"
    volume -n fast -L 32M vg "$(part "$n1" 1)"
    lvchange -q -an vg/fast
    lvconvert -q -y --type writecache --cachevol vg/fast vg/slow
    mkfs.ext4 -q /dev/vg/slow
}
