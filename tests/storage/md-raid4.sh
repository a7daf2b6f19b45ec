# RAID 4 over partitions that use only part of their space.
create() {
    one_part raid "$d1" "$d2" "$d3"
    md 4 --level=4 --raid-devices=3 --chunk=32 --size=65536 --assume-clean "$(part "$d1" 1)" "$(part "$d2" 1)" "$(part "$d3" 1)"
    mkfs.ext4 -q /dev/md4
}
