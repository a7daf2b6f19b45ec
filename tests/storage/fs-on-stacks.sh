# xfs on LVM, vfat and swap on md, with swap in use.
create() {
    one_part lvm "$d1"
    one_part raid "$d2" "$d3"
    echo 'size=64M, type=raid' | sfdisk -q --append "$d2"
    echo 'size=64M, type=raid' | sfdisk -q --append "$d3"
    udevadm settle
    group vg "$(part "$d1" 1)"
    volume --type linear -n logs -l 100%FREE vg
    mkfs.ext4 -q -O ^has_journal /dev/vg/logs
    md 0 --level=1 --raid-devices=2 --bitmap=none --assume-clean "$(part "$d2" 1)" "$(part "$d3" 1)"
    md 1 --level=0 --raid-devices=2 --chunk=64 "$(part "$d2" 2)" "$(part "$d3" 2)"
    mkfs.vfat -n DATA /dev/md0
    mkswap -q -L swapped /dev/md1
}
up() { swapon -L swapped; }
down() { swapoff -a; }
