# RAID 1 on disks with sectors of 4096 bytes.
create() {
    one_part raid "$k1" "$k2"
    md 0 --level=1 --raid-devices=2 --bitmap=none --assume-clean "$(part "$k1" 1)" "$(part "$k2" 1)"
    mkfs.ext4 -q /dev/md0
}
