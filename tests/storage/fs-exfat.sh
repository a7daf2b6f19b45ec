# exFAT with a label, and one with large clusters.
create() {
    echo 'label: gpt
size=128M, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7
size=128M, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7' | table "$d1"
    mkfs.exfat -L 'Fotos 1' "$(part "$d1" 1)"
    mkfs.exfat -c 64K "$(part "$d1" 2)"
}
