# Members one behind the other, of different sizes.
create() {
    echo 'label: gpt
size=100M, type=raid' | table "$d1"
    echo 'label: gpt
size=64M, type=raid' | table "$d2"
    md 0 --level=linear --raid-devices=2 "$(part "$d1" 1)" "$(part "$d2" 1)"
    mkfs.ext4 -q /dev/md0
}
