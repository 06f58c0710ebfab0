#!/bin/bash
# A real small model on every shared data set: a few steps, then the whole labelled split.
. tests/e2e/common.sh "$1"
need_shared data/models/stories260K
need_shared data/datasets
export OMP_NUM_THREADS=2
base=$shared/data/models/stories260K data=$shared/data/datasets
cat >"$work/run.json" <<'JSON'
{"dtype": "f32", "adapter": {"num_experts": 4, "router": {"hidden_size": 16, "edge_density": 0.34}, "losses": {"normal": 1.0}},
 "train": {"max_steps": 4, "batch_size": 8, "micro_batch_tokens": 1024, "learning_rate": 1e-3, "eval_every": 0, "save_every": 0}}
JSON

# value FILE KEY: the first number under this key
value() { grep -o "\"$2\": *[-0-9.e]*" "$1" | head -1 | sed 's/.*: *//'; }

# TASK, items of its test split
while read -r task items; do
    good "$bin/gmoe-train" --config "$work/run.json" --set task="$task" --base-model "$base" --data-dir "$data" --output-dir "$work/$task"
    [ "$(value "$work/$task/result.json" n)" = "$items" ] || fail "$task: $(value "$work/$task/result.json" n) items, not $items"
    [ "$(grep -c '"event":"step"' "$work/$task/metrics.jsonl")" = 4 ] || fail "$task: not four steps"
    [ -s "$work/$task/adapter/adapter_model.safetensors" ] || fail "$task: no adapter"
    echo "$task: accuracy $(value "$work/$task/result.json" accuracy) of $items"
done <<'TASKS'
arc-c 1172
arc-e 2376
boolq 3270
obqa 500
siqa 1954
sst2 1821
TASKS

# What gmoe-eval finds is what the trainer found, whatever the size of batches.
for tokens in 300 20000; do
    good "$bin/gmoe-eval" --base-model "$base" --adapter "$work/obqa/adapter" --task obqa --data-dir "$data" --batch-tokens $tokens --output "$work/eval.json" --items "$work/items.$tokens"
    [ "$(value "$work/eval.json" correct)" = "$(value "$work/obqa/result.json" correct)" ] || fail "gmoe-eval and the trainer differ on obqa"
done
[ "$(wc -l <"$work/items.300")" = 500 ] || fail "--items has not 500 lines"
cut -d, -f1-3 "$work/items.300" | cmp -s - <(cut -d, -f1-3 "$work/items.20000") || fail "predictions depend on the size of batches"

# Likelihood scoring of whole answers; two tasks at once.
good "$bin/gmoe-eval" --base-model "$base" --task obqa,arc-c --data-dir "$data" --split validation --prompt lm-eval --output "$work/eval.json" --items "$work/items"
grep -q '"accuracy_norm"' "$work/eval.json" || fail "no accuracy by character"
[ "$(grep -c '"task":"arc-c"' "$work/items")" = 299 ] || fail "--items does not name the tasks"

# Training trains: the cross-entropy falls, and best/ and checkpoints come.
good "$bin/gmoe-train" --config "$work/run.json" --set task=sst2 --base-model "$base" --data-dir "$data" --output-dir "$work/longer" \
    --set train.max_steps=60 --set train.eval_every=30 --set train.save_every=30 --set train.learning_rate=1e-2 --set eval.batch_tokens=8192
first=$(grep -o '"ce":[0-9.]*' "$work/longer/metrics.jsonl" | head -10 | cut -d: -f2 | awk '{s += $1} END {print s / NR}')
last=$(grep -o '"ce":[0-9.]*' "$work/longer/metrics.jsonl" | tail -10 | cut -d: -f2 | awk '{s += $1} END {print s / NR}')
awk "BEGIN {exit !($last < 0.8 * $first)}" || fail "the cross-entropy went from $first to $last"
echo "sst2: cross-entropy $first → $last"
[ -s "$work/longer/best/adapter_config.json" ] && [ -s "$work/longer/checkpoints/step-60/MANIFEST" ] || fail "no best/ or no checkpoint"
[ "$(grep -c '"event":"eval"' "$work/longer/metrics.jsonl")" -ge 3 ] || fail "evaluations are missing from metrics.jsonl"

# The report of a run: well-formed, all of its own, and with the numbers of result.json.
report=$work/longer/report.html
grep -q 'src=\|href=\|<script\|@import\|url(' "$report" && fail "the report needs other files"
if command -v xmllint >/dev/null; then xmllint --noout "$report" || fail "the report is not well-formed"; fi
percent=$(awk -v x="$(value "$work/longer/result.json" accuracy)" 'BEGIN {printf "%.2f %%", 100 * x}')
grep -qF "<b>$percent</b><span>accuracy, test</span>" "$report" || fail "the report's accuracy is not $percent"
[ "$(grep -o 'expert graph of layer' "$report" | wc -l)" = "$(grep -o 'expert graph of layer [0-9]*' "$report" | sort -u | wc -l)" ] || fail "graphs of layers"
good "$bin/gmoe-train" --config "$work/run.json" --set task=obqa --set method=lora --set adapter.num_experts=1 --set adapter.router.type=none --set adapter.losses.normal=0 \
    --base-model "$base" --data-dir "$data" --output-dir "$work/lora" --set train.max_steps=1
grep -q '<h1>obqa, lora</h1>' "$work/lora/report.html" || fail "no report of a LoRA run"
grep -q 'Expert load' "$work/lora/report.html" && fail "experts in the report of a LoRA run"

# A dry run says what it would do and leaves nothing.
good "$bin/gmoe-train" --config "$work/run.json" --set task=boolq --base-model "$base" --data-dir "$data" --output-dir "$work/dry" --dry-run
grep -q 'activations' "$work/stdout" && grep -q '3270 items' "$work/stdout" && [ ! -e "$work/dry" ] || fail "the dry run"
grep -q '⟦' "$work/stdout" && [ "$(wc -l <"$work/stdout")" -le 24 ] || fail "the dry run is more than a screen: $(wc -l <"$work/stdout") lines"
good "$bin/gmoe-train" --config "$work/run.json" --set task=boolq --base-model "$base" --data-dir "$data" --output-dir "$work/dry" --dry-run --log-level debug
grep -q 'place, id, loss, token' "$work/stdout" && [ "$(wc -l <"$work/stdout")" -gt 60 ] || fail "the dry run shows no token table for debug"

# Directories of runs, where an adapter is wanted; what gmoe-inspect says of them.
expect 2 "^gmoe-eval: --adapter: $work/longer: is the output directory of a run; use $work/longer/adapter \(the last\) or best" \
    "$bin/gmoe-eval" --base-model "$base" --adapter "$work/longer" --task sst2 --data-dir "$data"
expect 2 "^gmoe-train: --init-adapter: $work/obqa: is the output directory of a run; use $work/obqa/adapter" \
    "$bin/gmoe-train" --config "$work/run.json" --set task=obqa --base-model "$base" --output-dir "$work/dry" --init-adapter "$work/obqa"
good "$bin/gmoe-inspect" "$work/longer"
grep -q '^kind: run of gmoe on sst2' "$work/stdout" && grep -q '^state: finished, 60 steps' "$work/stdout" && grep -q '^best: step' "$work/stdout" ||
    fail "gmoe-inspect of a run: $(cat "$work/stdout")"
mkdir "$work/unfinished" && cp -r "$work/longer/config.json" "$work/longer/metrics.jsonl" "$work/longer/checkpoints" "$work/unfinished"
good "$bin/gmoe-inspect" "$work/unfinished"
grep -q '^state: not finished, at step 60' "$work/stdout" && grep -q 'unfinished/checkpoints/step-60; ' "$work/stdout" || fail "gmoe-inspect of an unfinished run"
expect 2 'not finished; use one of' "$bin/gmoe-eval" --base-model "$base" --adapter "$work/unfinished" --task sst2 --data-dir "$data"
echo '{"steps": ' >"$work/unfinished/result.json"
expect 3 'unfinished/result.json' "$bin/gmoe-inspect" "$work/unfinished"

# Two seeds: a directory each, a summary, and the mean.
good "$bin/gmoe-train" --config "$work/run.json" --set task=obqa --base-model "$base" --data-dir "$data" --output-dir "$work/seeds" --seeds 3,4 --set train.max_steps=1
[ -s "$work/seeds/seed-3/result.json" ] && [ -s "$work/seeds/seed-4/result.json" ] && grep -q '"mean"' "$work/seeds/summary.json" || fail "--seeds"
grep -q '^Std' "$work/stdout" || fail "--seeds prints no table"
good "$bin/gmoe-inspect" "$work/seeds"
grep -q '^result: seed 4: accuracy' "$work/stdout" && grep -q '^mean: ' "$work/stdout" || fail "gmoe-inspect of several seeds"
expect 2 'is a run for several seeds; use' "$bin/gmoe-eval" --base-model "$base" --adapter "$work/seeds" --task obqa --data-dir "$data"
finish
