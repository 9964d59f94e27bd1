#!/bin/sh
# Fails when a promise in tests/README.md names no test, or one that does not exist.
set -eu
cd "$(dirname "$0")/.."

problems=$(mktemp)
trap 'rm -f "$problems"' EXIT

# A promise is a line of the list; behind its colon stand files and, after each, tests of that file.
grep -n '^- ' README.md | while IFS=: read -r line promise; do
    tests=0
    file=''
    for word in $(printf '%s\n' "${promise##*: }" | tr -d '\140,'); do
        case $word in
        */*)
            file=$word
            [ -f "$file" ] || echo "README.md:$line: there is no $file"
            ;;
        *)
            tests=$((tests + 1))
            case $file in
            *.py) pattern="^def ${word}(" ;;
            *) pattern="^static void ${word}(void " ;; # compilers see to it that it is used
            esac
            grep -qs "$pattern" "$file" || echo "README.md:$line: $file has no test $word"
            ;;
        esac
    done
    [ "$tests" -gt 0 ] || echo "README.md:$line: a promise without a test"
done >"$problems"

cat "$problems"
[ ! -s "$problems" ]
