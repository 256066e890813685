# What the scripts with the AWS command line check.

expect() { # what, expected, found
    if [[ "$2" != "$3" ]]; then
        printf '%s:\n  expected %q\n  found    %q\n' "$1" "$2" "$3" >&2
        exit 1
    fi
}
expect_in() { # what, a part of what is expected, found
    if [[ "$3" != *"$2"* ]]; then
        printf '%s:\n  expected %q\n  in       %q\n' "$1" "$2" "$3" >&2
        exit 1
    fi
}
refused() { # the type of the error, and the command
    local type=$1 said
    shift
    if said=$("$@" 2>&1); then
        expect "$*" "refused with $type" "$said"
    fi
    expect_in "the error of $*" "($type)" "$said"
}
