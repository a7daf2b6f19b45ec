# LUKS 2 with authenticated encryption, with a new passphrase.
NEW_KEYS=1
create() {
    echo 'label: gpt
size=48M' | table "$d1"
    luks "$(part "$d1" 1)" sealed --type luks2 --cipher aes-xts-plain64 --integrity hmac-sha256 --integrity-no-wipe
    mkfs.ext4 -q -E nodiscard,lazy_itable_init=0 /dev/mapper/sealed 2> /dev/null || {
        dd if=/dev/zero of=/dev/mapper/sealed bs=1M status=none || true
        mkfs.ext4 -q /dev/mapper/sealed
    }
}
