# One btrfs on a partition, not mounted when it is saved, with a label.
create() {
    one_part linux "$d1"
    mkfs.btrfs -q -L 'one device' "$(part "$d1" 1)"
}
EXPECT="refused: was not mounted"
