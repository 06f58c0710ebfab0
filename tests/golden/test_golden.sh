#!/bin/bash
# Ten optimiser steps, final tensors and scores of every golden against the oracle's (tests/golden/README.md).
# usage: test_golden.sh BIN-DIRECTORY [CASE…]
set -u
bin=$1
shift
compare=${GMOE_TEST_TOOLS:-$bin/../tests}/compare_golden
device=${GMOE_TEST_DEVICE:-cpu}
shared=${GMOE_SHARED:-../shared}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1 # tiny matrices: threads only wait for each other
failed=0

# check CASE-FOLDER NAME
check() {
    local folder=$1 out=$work/$2 bad=0
    mkdir "$out"
    local options=()
    grep -q '"parity": true' "$folder/expected.json" && options=(--parity)
    train() {
        "$bin/gmoe-train" "${options[@]}" --config "$folder/config.json" --base-model "$folder/base" --data-dir "$folder" --init-adapter "$folder/init" --device "$device" --quiet "$@" >"$out/log" 2>&1 ||
            { cat "$out/log"; return 1; }
    }
    score() {
        "$bin/gmoe-eval" --base-model "$folder/base" --data-dir "$folder" --task jsonl --scoring "$scoring" --dtype "$dtype" --device "$device" --quiet "$@" >"$out/log" 2>&1 ||
            { cat "$out/log"; return 1; }
    }
    local scoring dtype
    scoring=$(sed -n 's/.*"scoring": *"\([a-z]*\)".*/\1/p' "$folder/expected.json" | head -1)
    dtype=$(sed -n 's/.*"dtype": *"\([a-z0-9]*\)".*/\1/p' "$folder/config.json" | head -1)
    echo "$2"
    train --output-dir "$out/run" || return 1
    "$compare" steps "$folder/expected.json" "$out/run/metrics.jsonl" steps || bad=1
    "$compare" tensors "$folder/expected.json" "$folder/final.safetensors" "$out/run/adapter/adapter_model.safetensors" || bad=1
    score --items "$out/base.jsonl" || return 1
    "$compare" items "$folder/expected.json" "$out/base.jsonl" base_items || bad=1
    score --adapter "$out/run/adapter" --items "$out/items.jsonl" || return 1
    "$compare" items "$folder/expected.json" "$out/items.jsonl" items || bad=1
    if grep -q steps_with_normal "$folder/expected.json"; then
        train --output-dir "$out/normal" --set "$(sed -n 's/.*"with_normal": *"\([^"]*\)".*/\1/p' "$folder/expected.json")" || return 1
        # only the losses: a micro-batch's backward knows the counts so far, not the step's (objective.c)
        "$compare" terms "$folder/expected.json" "$out/normal/metrics.jsonl" steps_with_normal || bad=1
    fi
    return $bad
}

cases=("$@")
[ ${#cases[@]} -gt 0 ] || cases=($(cd tests/golden && dirname -- */config.json))
for name in "${cases[@]}"; do
    [ "$name" = shared ] || check "tests/golden/$name" "$name" || { echo "$name: FAILED"; failed=1; }
done
if [ $# -eq 0 ] || [ "$1" = shared ]; then
    if [ -d "$shared/golden/llama-gmoe" ]; then
        check "$shared/golden/llama-gmoe" shared || { echo "shared: FAILED"; failed=1; }
    else
        echo "skipped: $shared/golden/llama-gmoe is absent"
    fi
fi
if [ $# -eq 0 ]; then # a processor without bf16 instructions: products are widened
    export ONEDNN_MAX_CPU_ISA=AVX2
    check tests/golden/llama-bf16 llama-bf16-avx2 || { echo "llama-bf16-avx2: FAILED"; failed=1; }
fi
exit $failed
