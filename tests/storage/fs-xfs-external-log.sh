# xfs with its log on another partition: refused with a sentence.
EXPECT="refused: log"
create() {
    echo 'label: gpt
size=320M
size=80M' | table "$d1"
    mkfs.xfs -q -l logdev="$(part "$d1" 2)",size=64m "$(part "$d1" 1)"
}
