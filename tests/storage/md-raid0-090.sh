# RAID 0 with metadata 0.90 on MBR partitions of type fd.
create() {
    for disk in "$d1" "$d2"; do echo 'label: dos
start=2048, size=262144, type=fd' | table "$disk"; done
    md 5 --level=0 --metadata=0.90 --raid-devices=2 --chunk=128 "$(part "$d1" 1)" "$(part "$d2" 1)"
    mkfs.ext4 -q -L old /dev/md5
}
