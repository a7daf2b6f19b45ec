# An array of arrays: RAID 0 over two mirrors.
create() {
    one_part raid "$d1" "$d2" "$d3" "$d4"
    md 1 --name=a --level=1 --bitmap=none --raid-devices=2 --size=65536 --assume-clean "$(part "$d1" 1)" "$(part "$d2" 1)"
    md 2 --name=b --level=1 --bitmap=none --raid-devices=2 --size=65536 --assume-clean "$(part "$d3" 1)" "$(part "$d4" 1)"
    md 3 --name=both --level=0 --raid-devices=2 /dev/md1 /dev/md2
    mkfs.ext4 -q /dev/md3
}
