# LUKS 2 on a whole disk with sectors of 4096 bytes.
create() {
    luks "$k1" big --type luks2 --sector-size 4096
    mkfs.xfs -q /dev/mapper/big
}
