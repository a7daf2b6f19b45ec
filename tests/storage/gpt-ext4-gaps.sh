# A GPT with gaps, numbers out of order, names and attribute bits; ext4 with a label that has a blank.
create() {
    table "$d1" <<'END'
label: gpt
label-id: 6F9619FF-8B86-D011-B42D-00C04FC964FF
first-lba: 34
start=4096, size=131072, name="first part", attrs="RequiredPartition LegacyBIOSBootable GUID:60"
4: start=262144, size=131072, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=11111111-2222-3333-4444-555555555555
2: start=655360, size=65536, type=swap
END
    mkfs.ext4 -q -L 'my data' -m 3 -I 256 "$(part "$d1" 1)"
    mkfs.ext4 -q -O ^has_journal,^metadata_csum -b 1024 "$(part "$d1" 4)"
    mkswap -q -L 'swap one' "$(part "$d1" 2)"
}
