# xfs with its log on another partition: refused with a sentence.
EXPECT="refused: log"
create() {
    echo 'label: gpt
size=320M
size=32M' | table "$d1"
    mkfs.xfs -q -l logdev="$(part "$d1" 2)",size=16m "$(part "$d1" 1)"
}
