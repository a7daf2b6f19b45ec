# RAID 1 whose data begin where its maker wanted, on unequal partitions.
create() {
    one_part raid "$d1"
    echo 'label: gpt
size=300M, type=raid' | table "$d2"
    md 0 --level=1 --raid-devices=2 --bitmap=none --data-offset=8M --assume-clean "$(part "$d1" 1)" "$(part "$d2" 1)"
    mkfs.ext4 -q /dev/md0
}
