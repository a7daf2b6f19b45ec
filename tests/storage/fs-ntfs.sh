# A data partition of Windows.
create() {
    echo 'label: dos
size=128M, type=7' | table "$d1"
    mkfs.ntfs -Q -q -L 'Daten 1' -c 4096 "$(part "$d1" 1)"
}
