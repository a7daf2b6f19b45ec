# Evaluates one configuration file and prints what it assigned. Arguments: FILE [FILE READ BEFORE IT]...
# Answer on standard output: what the file itself printed, and then NUL-separated fields (no value can hold a
# NUL): for each variable its name, its attributes, the number of its elements, the elements.
exec 2>&1
for __rear_file in "$@"; do
    "$BASH" --norc --noprofile -n -- "$__rear_file" && continue
    printf '\0@REAR:SYNTAX@\0'
    exit 0
done
__rear_dump() {
    # The file may have changed any of these.
    builtin set +eufxv +o noglob
    builtin unalias -a
    builtin local IFS=$'\n' __rear_v __rear_a __rear_lists
    # By name: a list without an element 0 hides its attributes from @a.
    __rear_lists=$'\n'$(builtin compgen -A arrayvar)$'\n'
    for __rear_v in $(builtin compgen -v); do
        case $__rear_v in __rear_*) builtin continue ;; esac
        __rear_a=${!__rear_v@a}
        [[ $__rear_lists != *$'\n'"$__rear_v"$'\n'* ]] || __rear_a+=a
        builtin local -n __rear_r=$__rear_v
        builtin printf '%s\0' "$__rear_v" "$__rear_a" "${#__rear_r[@]}" "${__rear_r[@]}"
        builtin unset -n __rear_r
    done
}
@PRESETS@
CONFIG_DIR=${1%/*} VAR_DIR=/var/lib/rear LOG_DIR=/var/log/rear SHARE_DIR=/usr/share/rear
# Users write { NAME='secret' ; } 2>>/dev/$SECRET_OUTPUT_DEV. Without a value bash could not open "/dev/" and would
# leave the assignment out.
SECRET_OUTPUT_DEV=null
# A trace could hold passwords; nobody needs it.
exec 9>/dev/null
BASH_XTRACEFD=9
__rear_file=$1
__rear_earlier=( "${@:2}" )
set --
for __rear_one in "${__rear_earlier[@]}"; do
    printf '\0@REAR:EARLIER@\0'
    source "$__rear_one"
done
builtin printf '\0@REAR:BEFORE@\0'
__rear_dump
builtin printf '\0@REAR:FILE@\0'
source "$__rear_file"
builtin printf '\0@REAR:AFTER@\0'
__rear_dump
builtin printf '@REAR:END@\0'
builtin exit 0
