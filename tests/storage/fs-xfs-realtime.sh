# xfs with a real-time section: refused with a sentence.
EXPECT="refused: real"
create() {
    echo 'label: gpt
size=320M
size=64M' | table "$d1"
    mkfs.xfs -q -r rtdev="$(part "$d1" 2)" "$(part "$d1" 1)"
}
