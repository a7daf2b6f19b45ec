# RAID 10, three offset copies over four disks, metadata 1.0.
create() {
    one_part raid "$d1" "$d2" "$d3" "$d4"
    md 0 --level=10 --layout=o3 --metadata=1.0 --raid-devices=4 --size=49152 --assume-clean \
        "$(part "$d1" 1)" "$(part "$d2" 1)" "$(part "$d3" 1)" "$(part "$d4" 1)"
    mkfs.ext4 -q /dev/md0
}
