#!/bin/bash
# gmoe-tokenize BIN: what it prints, its exit status, and its one line for each fault.
set -u
tokenize=$1/gmoe-tokenize
golden=tests/golden/tokenizer
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# expect STATUS OUTPUT MESSAGE ARGUMENT…: standard input comes from $work/in; MESSAGE is a part of standard error, "" for none
expect() {
    local status=$1 output=$2 message=$3
    shift 3
    "$tokenize" "$@" <"$work/in" >"$work/out" 2>"$work/err"
    local got=$?
    local lines=1
    [ -n "$message" ] || lines=0
    if [ $got -ne "$status" ] || [ "$(cat "$work/out")" != "$output" ] || [ "$(wc -l <"$work/err")" -ne $lines ] ||
        { [ -n "$message" ] && ! grep -qF -- "$message" "$work/err"; }; then
        echo "gmoe-tokenize $*: status $got, not $status; or other output:"
        cat "$work/out" "$work/err"
        failed=1
    fi
}

bytes=(--tokenizer $golden/bytes.tokenizer.json)
printf '{"text":"a\\u0000b"}\r\n\n{"id":7,"text":"<|eot_id|>é"}' >"$work/in"
expect 0 '{"ids":[558,64,188,65]}
{"ids":[558,559,127,102]}' "" "${bytes[@]}"
expect 0 '{"ids":[64,188,65]}
{"ids":[559,127,102]}' "" "${bytes[@]}" --no-special
expect 0 '{"ids":[558,64,188,65]}
{"ids":[558,438,68,78,83,62,72,67,371,127,102]}' "" --plain-special --tokenizer=$golden/bytes.tokenizer.json
printf '{"ids":[558,64,188,65]}\n{"ids":[]}\n{"ids":[559,127,102]}\n' >"$work/in"
expect 0 '{"text":"<|begin_of_text|>a\u0000b"}
{"text":""}
{"text":"<|eot_id|>é"}' "" "${bytes[@]}" --decode
expect 0 '{"text":"a\u0000b"}
{"text":""}
{"text":"é"}' "" "${bytes[@]}" --decode --no-special

printf '{"text":"a"}\n{"text":"a"\n' >"$work/in"
expect 3 '{"ids":[64]}' "line 2" "${bytes[@]}" --no-special
for bad in '[]' '{}' '{"text":1}' '{"text":"a","text":"b"}' '{"text":"\xff"}' '{"text":"\ud800"}' '{"text":"a"} x' 'text' '{"ids":[1]}'; do
    printf '%s\n' "$bad" | sed 's/\\xff/\xff/' >"$work/in"
    expect 3 "" "line 1" "${bytes[@]}"
done
for bad in '{"ids":[99999]}' '{"ids":[-1]}' '{"ids":[1.5]}' '{"ids":["1"]}' '{"ids":1}' '{"text":"a"}' '{"ids":[4294967296]}'; do
    printf '%s\n' "$bad" >"$work/in"
    expect 3 "" "line 1" "${bytes[@]}" --decode
done

# More lines than are worked on at once, by any number of threads: in their order, and up to the first bad one.
for i in $(seq 700); do printf '{"text":"line %d of many, %d"}\n' "$i" $((i * i)); done >"$work/many"
OMP_NUM_THREADS=1 "$tokenize" "${bytes[@]}" <"$work/many" >"$work/one"
[ "$(wc -l <"$work/one")" = 700 ] || { echo "not 700 lines"; failed=1; }
sed '430s/.*/{"text":1}/; 500s/.*/{}/' "$work/many" >"$work/spoilt"
for threads in 2 5; do
    OMP_NUM_THREADS=$threads "$tokenize" "${bytes[@]}" <"$work/many" | cmp - "$work/one" || failed=1
    OMP_NUM_THREADS=$threads "$tokenize" "${bytes[@]}" <"$work/spoilt" >"$work/out" 2>"$work/err"
    [ $? = 3 ] && grep -q "line 430: " "$work/err" && [ "$(wc -l <"$work/err")" = 1 ] && head -n 429 "$work/one" | cmp - "$work/out" ||
        { echo "a bad line among many, $threads threads"; failed=1; }
done
"$tokenize" --help | grep -q OMP_NUM_THREADS || { echo "--help does not tell of threads"; failed=1; }
# a long line, whose memory is not kept, and what comes behind it
{ printf '{"text":"'; head -c 3000000 /dev/zero | tr '\0' 'a'; printf '"}\n'; head -n 3 "$work/many"; } >"$work/long"
"$tokenize" "${bytes[@]}" <"$work/long" | tail -n 3 | cmp - <(head -n 3 "$work/one") || failed=1

"$tokenize" "${bytes[@]}" <"$work" >"$work/out" 2>"$work/err"
[ $? = 1 ] && grep -q "standard input: " "$work/err" || { echo "a directory for an input"; failed=1; }

: >"$work/in"
expect 0 "" "" "${bytes[@]}"
expect 2 "" "--tokeniser" --tokeniser x
expect 2 "" "--tokenizer" --tokenizer
expect 2 "" "--tokenizer: is given twice" "${bytes[@]}" --tokenizer x
expect 2 "" "--tokenizer" --decode
expect 2 "" "$work/none" --tokenizer "$work/none"
expect 3 "" "no tokenizer.json" --tokenizer "$work"
echo '{"model":{"type":"Unigram"}}' >"$work/tokenizer.json"
expect 3 "" "Unigram" --tokenizer "$work"
"$tokenize" --help | grep -q -- --plain-special || { echo "--help lacks an option"; failed=1; }
"$tokenize" --version | grep -q '^gmoe-tokenize [0-9]' || { echo "--version"; failed=1; }

if [ -w /dev/full ]; then
    echo '{"text":"a"}' | "$tokenize" "${bytes[@]}" >/dev/full 2>"$work/err"
    [ $? -eq 1 ] && grep -q "standard output" "$work/err" || { echo "a full device goes unseen"; failed=1; }
fi
{ yes '{"text":"some words"}' | "$tokenize" "${bytes[@]}" 2>"$work/err"; echo $? >"$work/status"; } | head -n 1 >"$work/out"
[ "$(cat "$work/status")" = 1 ] && grep -q "standard output" "$work/err" || { echo "a closed pipe goes unseen"; failed=1; }
exit $failed
