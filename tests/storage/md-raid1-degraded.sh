# RAID 1 of which the first half is missing when it is saved.
create() {
    one_part raid "$d1"
    md 0 --name=half --level=1 --raid-devices=2 --bitmap=internal --assume-clean missing "$(part "$d1" 1)"
    mkfs.ext4 -q /dev/md0
}
