# A GPT on NVMe, with a BIOS boot partition and an empty one.
create() {
    table "$n1" <<'END'
label: gpt
size=1M, type=21686148-6449-6E6F-744E-656564454649
size=64M, type=uefi, name="EFI System Partition"
size=100M
size=50M, name="nothing in it"
END
    mkfs.vfat -F 32 "$(part "$n1" 2)"
    mkfs.ext4 -q "$(part "$n1" 3)"
}
