# ext4 with directories that may ignore letter case, which no archive gives back: refused.
EXPECT="refused: casefold"
create() {
    one_part linux "$d1"
    mkfs.ext4 -q -O casefold -E encoding=utf8 "$(part "$d1" 1)"
}
