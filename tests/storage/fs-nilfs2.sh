# nilfs2 with a label.
create() {
    one_part linux "$d1"
    mkfs.nilfs2 -q -L log -b 4096 "$(part "$d1" 1)"
}
