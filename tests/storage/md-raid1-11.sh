# RAID 1 with metadata 1.1, an internal bitmap with a chunk of its own, and a member that is read last.
create() {
    one_part raid "$d1" "$d2"
    md 7 --name=mirror --level=1 --metadata=1.1 --bitmap=internal --bitmap-chunk=16M --raid-devices=2 --assume-clean \
        "$(part "$d1" 1)" --write-mostly "$(part "$d2" 1)"
    mkswap -q -L mirrored /dev/md7
}
