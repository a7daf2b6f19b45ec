# ext2, ext3 and ext4 in many forms.
create() {
    table "$d1" <<'END'
label: gpt
size=40M
size=40M
size=40M
size=40M
size=40M
size=60M
size=40M
END
    mkfs.ext2 -q -b 1024 -I 128 -m 0 "$(part "$d1" 1)"
    mkfs.ext3 -q -b 2048 -I 256 -L 'a b' -m 7 "$(part "$d1" 2)"
    mkfs.ext4 -q -O 64bit,metadata_csum,bigalloc -C 65536 "$(part "$d1" 3)"
    mkfs.ext4 -q -O ^extents,^64bit,^flex_bg,^huge_file -I 256 -N 3000 "$(part "$d1" 4)"
    mkfs.ext4 -q -b 4096 -O encrypt,verity,quota,project -E quotatype=usrquota:prjquota "$(part "$d1" 5)"
    mkfs.ext4 -q -J size=8 -E stride=4,stripe_width=16,resize=200000 -T news "$(part "$d1" 6)"
    mkfs.ext4 -q -O metadata_csum_seed,inline_data,large_dir,ea_inode,sparse_super2 "$(part "$d1" 7)"
    tune2fs -o journal_data_writeback,acl -c 30 -i 20d -e remount-ro -r 200 -u 1 -g 2 "$(part "$d1" 6)"
    tune2fs -E mount_opts=noatime "$(part "$d1" 7)"
}
