# Finds comments of Rust and C, and paragraphs of them, that begin with a pronoun or a question word: a comment names its
# subject.
# usage: awk -f comments.awk FILE...   (exit status 1 if there are any)
BEGIN {
    word = "(What|Which|Whether|How|Who|Whom|Whose|Whoever|Whatever|Whenever|Wherever|Where|When|Why" \
        "|It|Its|He|She|They|Their|That|This|These|Those|Such|As|So|Of)([^A-Za-z0-9_]|$)"
}

FNR == 1 { before = "" }

{
    # The kind of comment that the line has from its start, and the text behind the marker.
    kind = text = ""
    if (match($0, /^[ \t]*\/\/[\/!]?[ \t]*/)) {
        kind = substr($0, RSTART, RLENGTH)
        text = substr($0, RLENGTH + 1)
    } else if (match($0, /^[ \t]*\/\*[*!]?[ \t]*/)) {
        kind = "*"
        text = substr($0, RLENGTH + 1)
        before = ""
    } else if ((before == "*" || before == "* empty") && match($0, /^[ \t]*\*[ \t]*/) && $0 !~ /^[ \t]*\*\//) {
        kind = "*"
        text = substr($0, RLENGTH + 1)
    } else if (match($0, /[;,{}() \t]\/[\/*][ \t]*/)) {
        # Behind code: always a comment of its own.
        text = substr($0, RSTART + RLENGTH)
        before = "code"
    }
    gsub(/[ \t]/, "", kind)
    if (match(text, "^" word) && before != kind) {
        sub(/[^A-Za-z].*/, "", text)
        print FILENAME ":" FNR ": a comment begins with \"" text "\": say what the item is or does, and name the subject"
        found = 1
    }
    # A line without text ends a paragraph.
    before = text == "" && kind != "" ? kind " empty" : kind
    if (kind == "*" && $0 ~ /\*\//) before = ""
}

END { exit found }
