# Several volume groups over several disks: a disk without metadata, two copies, extents of 1 and 32 MiB, names with dashes.
create() {
    one_part lvm "$d1" "$d2" "$d3" "$d4"
    pvcreate -q -y --metadatacopies 2 "$(part "$d1" 1)"
    pvcreate -q -y --metadatacopies 0 "$(part "$d2" 1)"
    pvcreate -q -y --dataalignment 4M --metadatasize 2M "$(part "$d3" 1)"
    vgcreate -q -s 1M first "$(part "$d1" 1)" "$(part "$d2" 1)"
    vgcreate -q -s 32M --maxlogicalvolumes 20 --maxphysicalvolumes 10 second "$(part "$d3" 1)"
    group with-dash_and.dot "$(part "$d4" 1)"
    volume -n a -L 200M first
    volume -n b -L 150M first
    volume -n c -L 64M second
    volume -n some-volume--x -L 32M with-dash_and.dot
    for node in first/a first/b second/c with-dash_and.dot/some-volume--x; do mkfs.ext4 -q /dev/$node; done
}
