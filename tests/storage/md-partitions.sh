# Whole disks as members, and a GPT with filesystems on the array.
create() {
    md 0 --name=disk --level=1 --metadata=1.2 --bitmap=internal --raid-devices=2 --assume-clean "$d1" "$d2"
    table /dev/md0 <<'END'
label: gpt
size=100M, type=linux, name="root"
size=100M, type=swap
END
    mkfs.ext4 -q /dev/md0p1
    mkswap -q /dev/md0p2
}
