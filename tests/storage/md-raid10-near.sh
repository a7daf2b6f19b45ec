# RAID 10, two near copies over three disks.
create() {
    one_part raid "$d1" "$d2" "$d3"
    md 0 --level=10 --layout=n2 --raid-devices=3 --size=49152 --assume-clean "$(part "$d1" 1)" "$(part "$d2" 1)" "$(part "$d3" 1)"
    mkfs.ext4 -q /dev/md0
}
