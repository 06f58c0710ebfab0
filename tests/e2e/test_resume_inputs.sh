#!/bin/bash
# What a run was made from is held against every later --resume, and what it gave is not lost by one.
. tests/e2e/common.sh "$1"
take_golden_data
cd "$work" || exit 1
train=("$bin/gmoe-train" --config "$golden/config.json" --base-model "$golden/base" --data-dir data --set train.save_every=1)

# --- the validation split changes while it is not asked
cp -r data other && sed -i 1d other/validation.jsonl
good "${train[@]}" --output-dir run --set train.max_steps=2 --set train.eval_every=1
was=$(grep -o '"validation": "[0-9a-f]*"' run/result.json)
for step in 3 4; do # the second goes on from a checkpoint that only heard of the split
    good once "${train[@]}" --output-dir run --data-dir other --resume --set train.max_steps=$step --set train.eval_every=0
    [ "$(grep -o '"validation": "[0-9a-f]*"' run/checkpoints/step-$step/state.json)" = "$was" ] || fail "step $step forgets the validation split"
    [ "$(grep -o '"validation": "[0-9a-f]*"' run/result.json)" = "$was" ] || fail "the result of step $step forgets the validation split"
done
expect 2 'data set \(the validation split, which chooses best/, differs or is gone\)' \
    once "${train[@]}" --output-dir run --data-dir other --resume --set train.max_steps=5 --set train.eval_every=1
good "${train[@]}" --output-dir run --resume --set train.max_steps=5 --set train.eval_every=1
# one that was never asked may change until it is
good "${train[@]}" --output-dir never --set train.max_steps=1 --set train.eval_every=0
good once "${train[@]}" --output-dir never --data-dir other --resume --set train.max_steps=2 --set train.eval_every=1
expect 2 'data set \(the validation split' "${train[@]}" --output-dir never --resume --set train.max_steps=3 --set train.eval_every=1

# --- the test split of a finished run goes
cp run/result.json result.json && mv data/test.jsonl test.jsonl
for option in --quiet --dry-run; do
    expect 2 '^gmoe-train: run/result.json: has scores of the test split of jsonl, which is gone: put it back, or move result.json away' \
        "${train[@]}" --output-dir run --resume --set train.max_steps=5 --set train.eval_every=1 $option
    expect 2 'run/result.json: has scores of the test split of jsonl' \
        "${train[@]}" --output-dir run --resume --set train.max_steps=6 --set train.eval_every=1 $option
done
cmp -s run/result.json result.json || fail "scores are lost"
mv run/result.json moved.json
good "${train[@]}" --output-dir run --resume --set train.max_steps=5 --set train.eval_every=1
grep -q '"tasks": \[\]' run/result.json || fail "scores without a split"
good "${train[@]}" --output-dir run --resume --set train.max_steps=6 --set train.eval_every=1 # which had none before
mv test.jsonl data
good "${train[@]}" --output-dir run --resume --set train.max_steps=6 --set train.eval_every=1
grep -q '"adapter": "final"' run/result.json || fail "the split that is back is not scored"

# --- a signal before the first step: 75, and --resume does what was asked
export ASAN_OPTIONS=verify_asan_link_order=0
stopped() { # stopped OPTION…: the command, with SIGTERM when it opens the test split
    LD_PRELOAD=$(realpath "$bin/../tests/preload_signal.so") SIGNAL=15 SIGNAL_AT=data/test.jsonl "$@"
}
one=("${train[@]}" --set train.max_steps=2 --set train.eval_every=1)
good "${one[@]}" --output-dir whole
for seeds in "" "--seeds 3,4"; do
    expect 75 '^gmoe-train: (seed 3: )?interrupted by a signal before the first step; --resume starts there$' stopped "${one[@]}" --output-dir early $seeds
    [ ! -e early ] || fail "$seeds: stopped before the first step, and left: $(find early)"
    expect 75 'interrupted by a signal before the first step; --resume starts there$' stopped "${one[@]}" --output-dir early --resume $seeds
    good "${one[@]}" --output-dir early --resume $seeds
    [ -n "$seeds" ] || cmp -s early/adapter/adapter_model.safetensors whole/adapter/adapter_model.safetensors || fail "another adapter"
    rm -r early
done
[ -e whole/result.json ] && cp -r whole kept
expect 75 'before the first step; the run that was to be replaced is still there, give --overwrite again$' stopped "${one[@]}" --output-dir whole --overwrite
diff -r whole kept || fail "a run that was not begun replaced another"
"$bin/gmoe-train" --help-man | grep -q "^interrupted; what was done is saved: run again with .*resume" || fail "the manual page on 75"
finish
