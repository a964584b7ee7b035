# bash completion for clip and clipd: verbs and options from their own --help.
_clip() {
    local program=$1 current=${COMP_WORDS[COMP_CWORD]} words
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        words=$("$program" --help 2>/dev/null | awk '/^  [a-z]/ { print $1 }')
    elif [[ $current == -* ]]; then
        words=$("$program" "${COMP_WORDS[1]}" --help 2>/dev/null | grep -oE -- '--[a-z-]+')
    elif [[ ${COMP_WORDS[1]} =~ ^(umount|stats|profile)$ ]]; then
        words=$("$program" ps 2>/dev/null | awk 'NR > 1 { print $1 }')
    fi
    [ -z "$words" ] || mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -o default -F _clip clip clipd
