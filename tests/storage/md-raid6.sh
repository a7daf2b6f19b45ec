# RAID 6 over four whole disks, chunk of 256 KiB.
create() {
    md 6 --name=six --level=6 --raid-devices=4 --chunk=256 --size=49152 --assume-clean "$d4" "$d2" "$d3" "$d1"
    mkfs.ext4 -q /dev/md6
}
