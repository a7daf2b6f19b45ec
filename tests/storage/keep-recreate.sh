# A filesystem that is saved but not recreated stays bit-identical.
RULES="EXCLUDE_RECREATE=fs:/mnt/t/data"
PRESERVE="d2"
create() {
    for disk in "$d1" "$d2"; do echo 'label: gpt
size=256M' | table "$disk"; done
    mkfs.ext4 -q "$(part "$d1" 1)"
    mkfs.ext4 -q "$(part "$d2" 1)"
}
up() {
    at "$(part "$d1" 1)" sys
    at "$(part "$d2" 1)" data
}
