# Bash ends words at a colon, the devices of vsnd have some: words are put together for the completion, and what stands before the
# last colon already is left out of the answers.
_vsnd() {
    local -a words=()
    local at word=0 glued=0
    for ((at = 0; at <= COMP_CWORD; at++)); do
        if [[ $glued = 1 || ${COMP_WORDS[at]} = :* ]] && ((at > 0)); then
            words[${#words[@]} - 1]+=${COMP_WORDS[at]}
        else
            words+=("${COMP_WORDS[at]}")
        fi
        [[ ${COMP_WORDS[at]} = *: ]] && glued=1 || glued=0
    done
    word=$((${#words[@]} - 1))
    local -a COMP_WORDS=("${words[@]}")
    local COMP_CWORD=$word before
    _clap_complete_vsnd "$1" "${words[word]}" "$3"
    # Who has taken the colon out of the signs that end a word gets whole words.
    if [[ $COMP_WORDBREAKS = *:* ]]; then
        before=${words[word]%"${words[word]##*:}"}
        COMPREPLY=("${COMPREPLY[@]#"$before"}")
    fi
}
