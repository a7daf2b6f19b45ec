# An EFI system partition as a mirror: metadata 1.0 at the end, FAT that the firmware can read.
create() {
    one_part uefi "$d1" "$d2"
    md 127 --name=esp --level=1 --metadata=1.0 --bitmap=none --raid-devices=2 --assume-clean "$(part "$d1" 1)" "$(part "$d2" 1)"
    mkfs.vfat -F 32 -n EFI /dev/md127
}
