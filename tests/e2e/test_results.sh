#!/bin/bash
# What a run leaves: scores of part of a split, a finished run resumed, several seeds, an adapter scored again, and dry runs before it.
. tests/e2e/common.sh "$1"
take_golden_data
cd "$work" || exit 1
train=("$bin/gmoe-train" --config "$golden/config.json" --base-model "$golden/base" --data-dir data --set train.max_steps=6
    --set train.save_every=3 --set train.eval_every=2)
eval=("$bin/gmoe-eval" --base-model "$golden/base" --data-dir data --task jsonl)
score() { sed -E 's/"samples_per_s": [0-9.e+-]*//' "$1/result.json" | sed -n '/"split"/p'; }
says() { grep -qE -- "$2" "$work/$1" || fail "$3: $(cat "$work/$1")"; }
silent() { grep -qE -- "$2" "$work/$1" && fail "$3: $(grep -E -- "$2" "$work/$1")"; }

# --- part of a split
good "${train[@]}" --output-dir part --set eval.limit=2
says stderr '^jsonl validation: 2 items of .*, the first 2 of 5 \(eval.limit\)' "the limit is not said"
grep -q '"split":"validation".*"n":2,' part/metrics.jsonl && grep -q '"split":"test".*"n":2,' part/metrics.jsonl || fail "metrics.jsonl: not two items"
grep -q '"n": 2, "correct"' part/result.json || fail "result.json: not two items"
grep -q '"n": 2}' part/best/evaluation.json && grep -q '"best": {.*"n": 2}' part/result.json || fail "best/ does not say of how many items it is"
expect 2 'another configuration: eval.limit: 2 there, 3 now' "${train[@]}" --output-dir part --resume --set eval.limit=3
good "${eval[@]}" --adapter part/adapter --limit 2 --output eval.json
[ "$(grep -o '"correct": [0-9]*' eval.json)" = "$(grep -o '"correct": [0-9]*' part/result.json | head -1)" ] || fail "the first two items of gmoe-eval are others"

# --- a finished run is not scored again: neither its final nor its best adapter, unless the items changed
good "${train[@]}" --output-dir whole
cp -r whole before
good "${train[@]}" --output-dir whole --resume
says stderr '^jsonl test with the final adapter: scored already, in result.json' "a finished run's score is not taken"
silent stderr '^evaluating jsonl test' "a finished run is scored again"
[ "$(score whole)" = "$(score before)" ] && cmp -s <(sort before/metrics.jsonl) <(sort whole/metrics.jsonl) || fail "a finished run's results changed"
good "${train[@]}" --output-dir whole --resume --set train.max_steps=8
says stderr '^evaluating jsonl test with the final adapter' "another step's score is taken"
echo '{"tasks": [{"adapter": "final", "n"' >whole/result.json
good "${train[@]}" --output-dir whole --resume --set train.max_steps=8
says stderr '^evaluating jsonl test with the final adapter' "a damaged result.json is taken"
sed -i 1d data/test.jsonl
good "${train[@]}" --output-dir whole --resume --set train.max_steps=8
says stderr '^evaluating jsonl test with the final adapter: 4 items' "another file's score is taken"
cp "$golden/test.jsonl" data/test.jsonl
# one that lost its patience ends before its last step
patient=(once "${train[@]}" --set train.max_steps=40 --set eval.patience=1 --set train.learning_rate=0 --output-dir patient)
good "${patient[@]}"
says stderr 'no improvement in 1 evaluations' "a run that learns nothing goes on"
good "${patient[@]}" --resume
says stderr '^jsonl test with the final adapter: scored already' "a run without patience is scored again"
says stderr '^jsonl test with the best adapter: scored already' "its best adapter is scored again"

# --- several seeds
good "${train[@]}" --output-dir seeds --seeds 1,2 --set train.eval_every=0
silent stdout 'best' "a best column without evaluations"
says stdout '^accuracy ± standard error on test, n = 5, with [0-9]+ trainable parameters' "the table's head"
says stdout '^2 +[01]\.[0-9]{4} ± 0\.[0-9]{4} +[0-9]+:[0-9]+ +seeds/seed-2$' "a seed's row"
says stdout '^mean +[01]\.[0-9]{4}$' "the mean"
[ "$(grep -c '"best": null' seeds/summary.json)" -ge 3 ] || fail "summary.json has a best"
for key in '"split": "test"' '"n": 5' '"trainable_parameters": [0-9]' '"train_seconds": [0-9]' '"directory": "seeds/seed-1"' '"stderr": \{"final": 0'; do
    grep -qE "$key" seeds/summary.json || fail "summary.json lacks $key"
done
grep -q '"best": null' seeds/seed-1/result.json || fail "result.json without evaluations"
good "${train[@]}" --output-dir chosen --seeds 1,2
says stdout '^seed +final +best +time$' "no best column"
says stdout '^Std error +0\.[0-9]{4} +0\.[0-9]{4}$' "no standard error"
silent stdout 'null|nan' "a number is missing"

# --- an adapter is scored as its run scored it
good "${train[@]}" --output-dir own --set eval.prompt=lm-eval --set eval.scoring=likelihood --set train.max_length=20 --set dtype=bf16
good "${eval[@]}" --adapter own/adapter --output eval.json
says stderr '^own/adapter/../config.json: defaults of the run that made the adapter: dtype bf16, max-length 20, for jsonl prompt lm-eval and scoring likelihood$' \
    "gmoe-eval does not say what it takes"
for key in correct accuracy stderr accuracy_norm n prompt scoring; do
    [ "$(grep -o "\"$key\": [^,]*" eval.json | head -1)" = "$(grep -o "\"$key\": [^,]*" own/result.json | head -1)" ] || fail "gmoe-eval's $key is another"
done
grep -q '"dtype": "BF16"\|"dtype": "bf16"' eval.json || fail "gmoe-eval's type: $(grep -o '"dtype.*' eval.json)"
good "${eval[@]}" --adapter own/checkpoints/step-6
says stderr '^own/checkpoints/step-6/config.json: defaults' "a checkpoint's configuration is not taken"
good "${eval[@]}" --adapter own/adapter --prompt paper --max-length 4096 --dtype f32 --scoring label --output eval.json
silent stderr 'defaults of the run' "options are given, and defaults said"
grep -q '"prompt": "paper", "scoring": "label"' eval.json || fail "options are weaker than the run"
cp -r own/adapter alone
good "${eval[@]}" --adapter alone
silent stderr 'defaults of the run' "an adapter without its run has defaults"

# --- best/ by another metric: of likelihoods, and said everywhere
good "${train[@]}" --output-dir by-length --set eval.metric=accuracy_norm --set eval.scoring=likelihood
grep -q '"split": "validation", "accuracy_norm": ' by-length/best/evaluation.json || fail "best/ does not say what it is chosen by"
grep -q '"best": {.*"accuracy_norm": ' by-length/result.json || fail "result.json does not say what best/ is chosen by"
grep -q '"split":"validation".*"accuracy_norm":' by-length/metrics.jsonl || fail "metrics.jsonl lacks the metric"
says stderr '^best/ is from step [0-9]+: accuracy_norm ' "what best/ is chosen by"
rm by-length/result.json
good "${train[@]}" --output-dir by-length --set eval.metric=accuracy_norm --set eval.scoring=likelihood --resume
expect 2 'eval.metric: "accuracy_norm" there, "accuracy" now' "${train[@]}" --output-dir by-length --set eval.scoring=likelihood --resume
expect 2 'eval.metric: accuracy_bytes is of whole choices, and jsonl is scored by label; set eval.scoring likelihood' "${train[@]}" \
    --output-dir by-bytes --set eval.metric=accuracy_bytes --set eval.scoring=label

# --- an adapter of another base model
if [ -d "$shared/data/models/stories260K" ]; then
    expect 3 'adapter_model.safetensors: .*; this base model needs' once "${eval[@]}" --base-model "$shared/data/models/stories260K" --adapter alone
fi

# --- a dry run refuses what the run would, says where it would go on, and changes nothing
state() { find . -path ./stdout -prune -o -path ./stderr -prune -o -printf '%p %s %T@\n' | grep -v '^\. ' | sort; }
state >"$work/../state.$$"
dry=(once "${train[@]}" --dry-run)
expect 2 '^gmoe-train: output_dir: own: holds a run already; continue it with --resume' "${dry[@]}" --output-dir own
expect 2 'output_dir: seeds: holds runs of several seeds' "${dry[@]}" --output-dir seeds
expect 2 'seed 2: output_dir: seeds/seed-2: holds a run already' "${dry[@]}" --output-dir seeds --seeds 2,3
expect 1 'output_dir: data/test.jsonl/below: cannot be made: Not a directory' "${dry[@]}" --output-dir data/test.jsonl/below
expect 1 'output_dir: data/test.jsonl: cannot be made' "${dry[@]}" --output-dir data/test.jsonl
expect 1 'output_dir: .*: File name too long' "${dry[@]}" --output-dir "data/$(printf '%0300d' 0)"
good "${dry[@]}" --output-dir own --overwrite
good "${dry[@]}" --output-dir new/one
good "${dry[@]}" --output-dir before --resume
says stdout '^resume: from before/checkpoints/step-6, step 6 of 6$' "where it would go on"
good "${dry[@]}" --output-dir new --resume
says stdout '^resume: new holds no checkpoint, so from the start$' "without a checkpoint"
silent stderr '⟦' "the sample is shown twice"
expect 2 'adapter.rank: 2 there, 3 now' "${dry[@]}" --output-dir before --resume --set adapter.rank=3
expect 2 "past the run's end" "${dry[@]}" --output-dir before --resume --set train.max_steps=3
cmp -s "$work/../state.$$" <(state) || fail "a dry run changed something: $(diff "$work/../state.$$" <(state))"
rm "$work/../state.$$"
touch before/lock
(flock -n 9 && expect 1 'another program is training there' "${dry[@]}" --output-dir before --overwrite; exit $failures) 9<before/lock || fail "a locked directory"

# --- several tasks: mixed by weight, a result for each and their mean
world=$OLDPWD/assets/world
echo "{}" >empty.json
tasks=("$bin/gmoe-train" --config empty.json --base-model "$world/base" --data-dir "$world/data" --set 'task=["arc-c", "boolq", "sst2"]' --set dtype=f32
    --set adapter.router.hidden_size=16 --set train.batch_size=4 --set train.max_steps=6 --set train.save_every=3 --set train.eval_every=3
    --set eval.limit=8)
good "${tasks[@]}" --output-dir several --set 'train.mix=[2, 1, 1]' --dry-run
says stdout '^  arc-c: 2400 samples, .*; 3191 samples of an epoch$' "a task's share"
good "${tasks[@]}" --output-dir by-size --dry-run
says stdout '^  boolq: 1982 samples, .*; 1982 samples of an epoch$' "a task's share by size"
good "${tasks[@]}" --output-dir several --set 'train.mix=[2, 1, 1]'
says stdout '^sst2 +test +final +accuracy' "a task's result"
says stdout '^mean +test +final +accuracy .*\(of 3 tasks\)$' "the mean over tasks"
for task in arc-c boolq sst2; do
    grep -q "\"split\":\"validation\",\"task\":\"$task\"" several/metrics.jsonl || fail "metrics.jsonl: no evaluation of $task"
    [ "$(grep -c "\"task\": \"$task\"" several/result.json)" -ge 1 ] || fail "result.json: no score of $task"
done
mean=$(grep -o '"event":"eval_mean","step":3.*' several/metrics.jsonl | grep -o '"accuracy":[0-9.]*' | cut -d: -f2)
each=$(grep '"event":"eval","step":3,"split":"validation"' several/metrics.jsonl | grep -o '"accuracy":[0-9.]*' | cut -d: -f2)
awk -v mean="$mean" '{sum += $1} END {exit !(NR == 3 && (mean - sum / 3) ^ 2 < 1e-20)}' <<<"$each" || fail "the mean $mean is not that of $each"
grep -q '<title>arc-c + boolq + sst2' several/report.html || fail "report.html does not name the tasks"
expect 2 'another configuration: train.mix: \[2, 1, 1\] there, \[1, 1, 1\] now' "${tasks[@]}" --output-dir several --resume --set 'train.mix=[1, 1, 1]'
cp several/adapter/adapter_model.safetensors six
rm -r several/checkpoints/step-6 several/result.json
good "${tasks[@]}" --output-dir several --set 'train.mix=[2, 1, 1]' --resume
cmp -s six several/adapter/adapter_model.safetensors || fail "a resumed run of several tasks ends with another adapter"
[ "$(grep -c '"event":"eval_mean","step":6' several/metrics.jsonl)" = 1 ] || fail "a resumed run tells a mean twice"
good "${tasks[@]}" --output-dir several-seeds --set 'train.mix=[2, 1, 1]' --seeds 1,2 --set train.max_steps=2 --set train.eval_every=0
says stdout '^mean of 3 tasks: accuracy ± standard error on test, n = 24' "the seeds' mean over tasks"
[ "$(grep -c '"metric": "accuracy", "mean": ' several-seeds/summary.json)" = 3 ] || fail "summary.json lacks a task"
expect 2 'train.mix: weight 2 is too small' "${tasks[@]}" --output-dir small --set 'train.mix=[1e9, 1, 1]' --dry-run
cp "$GMOE_TASKS/boolq.json" .
expect 2 'task: two tasks are called boolq; rename a task file' "${tasks[@]}" --output-dir twins --set 'task=["boolq", "./boolq.json"]'
good "$bin/gmoe-eval" --base-model "$world/base" --adapter several/best --task sst2 --data-dir "$world/data" --limit 8
says stderr 'defaults of the run.*for sst2 prompt paper and scoring label' "gmoe-eval does not know a run of several tasks"

# --- what a run is made on; the plan is all that is allocated
plan() { "$bin/gmoe-train" "$@" --dry-run --overwrite | sed -n "s/^  $line  *\([0-9]*\) bytes.*/\1/p"; }
for type in f32 bf16; do
    run=("$bin/gmoe-train" --config "$golden/config.json" --base-model "$golden/base" --data-dir data --output-dir planned --set dtype=$type)
    good "${run[@]}" --overwrite --log-level debug
    at_most=$(sed -n 's/^.*allocated at most \([0-9]*\) bytes on cpu$/\1/p' "$work/stderr")
    grep -Eq "gmoe [0-9.]+ on cpu, [0-9]+ threads?, instruction set (base|v3|v4), $type; llama model of 2 layers, [0-9]+ parameters; gmoe, [0-9]+ trainable" "$work/stderr" ||
        fail "the run does not say what it runs on"
    grep -Eq "^ \"version\": \"[0-9.]+\", \"dtype\": \"$type\", \"device\": \"cpu\", \"cpu_level\": \"(base|v3|v4)\", \"threads\": [0-9]+" planned/result.json ||
        fail "result.json does not say what it was made on"
    all=$(line="in all" plan "${run[@]:1}") tape=$(line="tape (host)" plan "${run[@]:1}")
    [ "$at_most" = $((all - tape)) ] || fail "$type: allocated $at_most bytes, and planned $all with $tape of tape"
done
# --- a run without a configuration file: the same bits as with one
cat >said.json <<'JSON'
{"task": "jsonl", "dtype": "f32", "method": "lora", "train": {"max_steps": 2, "eval_every": 0}}
JSON
base=(--base-model "$golden/base" --data-dir data)
good "$bin/gmoe-train" --config said.json "${base[@]}" --output-dir said
good "$bin/gmoe-train" "${base[@]}" --output-dir unsaid --set task=jsonl --set dtype=f32 --set method=lora --set train.max_steps=2 --set train.eval_every=0
cmp -s said/adapter/adapter_model.safetensors unsaid/adapter/adapter_model.safetensors || fail "a run without --config is another"
expect 2 '^gmoe-train: output_dir: is missing; give it with --config FILE or --output-dir' "$bin/gmoe-train" "${base[@]}"

# --- a base model scored as a run scores its adapter
good "${eval[@]}" --like part --limit 2 --output like.json
says stderr '^part/config.json: defaults of the run: dtype f32, max-length' "--like does not say what it takes"
says stderr '^jsonl test: dtype f32, max-length [0-9]+, prompt paper, scoring label' "gmoe-eval does not say how it scores"
grep -q '"dtype": "f32"' like.json || fail "like.json: the dtype"
good "${eval[@]}" --like part/best --limit 2
good "${eval[@]}" --dtype bf16 --output bf16.json
grep -q '"dtype": "bf16"' bf16.json || fail "the dtype is spelt in another way than the option"
expect 2 '^gmoe-eval: --like data: is no run' "${eval[@]}" --like data
expect 2 '^gmoe-eval: --like and --adapter exclude each other' "${eval[@]}" --like part --adapter part/best

# --- what gmoe-eval cannot do with the data
mkdir partial && sed -E 's/, *"choices".*/}/' data/train.jsonl >partial/train.jsonl
expect 3 '; there is --split train$' "$bin/gmoe-eval" --base-model "$golden/base" --data-dir partial --task jsonl
expect 2 '^gmoe-eval: --items: the split train of jsonl has no choices' "$bin/gmoe-eval" --base-model "$golden/base" --data-dir partial --task jsonl \
    --split train --items none.jsonl
[ ! -e none.jsonl ] || fail "an empty file of items"

# --- the task file that configs/README.md shows
sed -n '/^```json$/,/^```$/p' "$OLDPWD/configs/README.md" | sed '1d;$d' >instructions.json
mkdir instructions
sed -n 's/^for lines like `\(.*\)`\.$/\1/p' "$OLDPWD/configs/README.md" | tee instructions/train.jsonl >instructions/instructions-dev.jsonl
good "$bin/gmoe-train" --base-model "$golden/base" --set task=./instructions.json --data-dir instructions --output-dir instructed --set dtype=f32 --dry-run
says stdout '1 samples, [0-9]+ tokens, 4 with loss; .*with EOS' "the example of a task file makes no sample"
good "$bin/gmoe-eval" --base-model "$golden/base" --task ./instructions.json --data-dir instructions
says stdout 'instructions +test +base +loss [0-9.]+ over' "the example of a task file is not scored"

finish
