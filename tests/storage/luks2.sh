# LUKS 2 with label and subsystem, sectors of 4096 bytes, slots with different key derivations, flags.
create() {
    one_part linux "$d1"
    luks "$(part "$d1" 1)" data --type luks2 --label vault --subsystem drill --sector-size 4096 --cipher aes-xts-plain64 --key-size 512
    printf %s "$PASS" > /run/key
    printf x > /run/key2
    cryptsetup luksAddKey -q --key-file=/run/key --pbkdf argon2id --pbkdf-memory 32768 --pbkdf-parallel 1 \
        --pbkdf-force-iterations 4 --key-slot 5 "$(part "$d1" 1)" /run/key2
    cryptsetup close data
    printf %s "$PASS" | cryptsetup open --key-file=- --allow-discards --persistent "$(part "$d1" 1)" data
    mkfs.ext4 -q /dev/mapper/data
}
check() {
    printf x | cryptsetup open --test-passphrase --key-file=- "$(part "$d1" 1)"
}
