# f2fs on a partition, and one with features.
create() {
    echo 'label: gpt
size=128M
size=128M' | table "$d1"
    mkfs.f2fs -q -l flash "$(part "$d1" 1)"
    mkfs.f2fs -q -O extra_attr,inode_checksum,inode_crtime,compression -s 2 "$(part "$d1" 2)"
}
