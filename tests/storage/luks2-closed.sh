# A container that is not open when it is saved.
create() {
    one_part linux "$d1"
    luks "$(part "$d1" 1)" data --type luks2
    cryptsetup close data
}
