# Filesystems on whole disks without a table, one of them NVMe.
create() {
    mkfs.ext4 -q -L whole "$d1"
    mkfs.xfs -q "$n1"
    mkswap -q "$d2"
}
