# LUKS 2 whose header was not saved: it comes back with a new passphrase, and all else as it was.
NEW_KEYS=1
create() {
    one_part linux "$d1"
    luks "$(part "$d1" 1)" data --type luks2 --label again --sector-size 4096
    mkfs.ext4 -q /dev/mapper/data
}
