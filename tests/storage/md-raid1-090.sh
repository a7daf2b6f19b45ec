# RAID 1 with metadata 0.90, three members, no bitmap.
create() {
    one_part raid "$d1" "$d2" "$d3"
    md 1 --level=1 --metadata=0.90 --bitmap=none --raid-devices=3 --assume-clean "$(part "$d1" 1)" "$(part "$d3" 1)" "$(part "$d2" 1)"
    mkfs.ext3 -q /dev/md1
}
