# RAID 10, two far copies, with a bitmap.
create() {
    one_part raid "$d1" "$d2"
    md 0 --level=10 --layout=f2 --raid-devices=2 --chunk=64 --bitmap=internal --size=49152 --assume-clean "$(part "$d2" 1)" "$(part "$d1" 1)"
    mkfs.ext4 -q /dev/md0
}
