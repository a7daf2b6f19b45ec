# jfs with a label.
create() {
    one_part linux "$d1"
    mkfs.jfs -q -L journal "$(part "$d1" 1)"
}
