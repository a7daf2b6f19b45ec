# LUKS 2 with a token, a small header area, and data that begin at 2 MiB.
create() {
    one_part linux "$d1"
    luks "$(part "$d1" 1)" data --type luks2 --luks2-metadata-size 32k --luks2-keyslots-size 512k --offset 4096
    echo '{"type":"drill","keyslots":["0"],"what":"kept"}' | cryptsetup token import "$(part "$d1" 1)"
    mkfs.ext4 -q /dev/mapper/data
}
