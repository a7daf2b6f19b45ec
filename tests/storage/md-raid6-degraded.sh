# RAID 6 with one member missing when it is saved.
create() {
    one_part raid "$d1" "$d2" "$d3"
    md 0 --level=6 --raid-devices=4 --size=49152 --assume-clean "$(part "$d1" 1)" missing "$(part "$d2" 1)" "$(part "$d3" 1)"
    mkfs.ext4 -q /dev/md0
}
