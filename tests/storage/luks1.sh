# LUKS 1 with two key slots, an ext4 in it.
create() {
    one_part linux "$d1"
    luks "$(part "$d1" 1)" crypt1 --type luks1 --cipher aes-cbc-essiv:sha256 --key-size 256 --hash sha512
    printf %s "$PASS" > /run/key
    printf second > /run/key2
    cryptsetup luksAddKey -q --key-file=/run/key --pbkdf-force-iterations 1000 --key-slot 3 "$(part "$d1" 1)" /run/key2
    mkfs.ext4 -q -L secret /dev/mapper/crypt1
}
check() {
    printf second | cryptsetup open --test-passphrase --key-file=- "$(part "$d1" 1)"
}
