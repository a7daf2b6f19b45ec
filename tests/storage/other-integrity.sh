# A bare dm-integrity volume: recreated, or refused with what to do.
EXPECT="refused: integrity"
create() {
    echo 'label: gpt
size=32M' | table "$d1"
    integritysetup format -q --no-wipe "$(part "$d1" 1)"
    integritysetup open "$(part "$d1" 1)" checked
    udevadm settle
}
