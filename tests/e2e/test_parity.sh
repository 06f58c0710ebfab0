#!/bin/bash
# --parity: what it sets, what is stronger, how it resumes; and configurations of the program whose readings it takes.
# That its steps are that program's is test_golden.sh's (llama-parity).
. tests/e2e/common.sh "$1"
golden=$PWD/tests/golden/llama-parity
fault=$(realpath "$bin/../tests/preload_fault.so")
cd "$work" || exit 1
echo '{"task": "jsonl", "dtype": "f32", "train": {"epochs": 100, "max_steps": 9, "eval_every": 0}}' >run.json
train=("$bin/gmoe-train" --config run.json --base-model "$golden/base" --data-dir "$golden")

# holds FILE KEY VALUE: the last name of a key, with its value, in a configuration
holds() { grep -qF "\"$2\": $3" "$1" || fail "$1: $2 is not $3: $(grep "\"$2\":" "$1")"; }

# --- every reading that --help lists is in the resolved configuration, and explicit keys win
good "${train[@]}" --parity --output-dir plain --dry-run --log-level debug
cp "$work/stdout" dry
"$bin/gmoe-train" --help | sed -n '/^--parity sets:/,/^  not imitated/s/^  \([a-z._]*\.[a-z_]*\) *\([^ ]*\) .*/\1 \2/p' >readings
[ "$(wc -l <readings)" = 12 ] || fail "--help lists $(wc -l <readings) readings"
while read -r key value; do holds dry "${key##*.}" "$value"; done <readings
grep -q 'micro-batches of at most 8 samples' dry || fail "the plan does not tell of micro-batches by samples"
good "${train[@]}" --parity --output-dir plain --dry-run # in a line
while read -r key value; do grep -q "^configuration: .*, $key $value[,;]" "$work/stdout" || fail "the line of the dry run lacks $key $value"; done <readings
good "${train[@]}" --output-dir plain --dry-run --log-level debug
while read -r key value; do grep -qF "\"${key##*.}\": $value" "$work/stdout" && fail "$key is $value without --parity"; done <readings
echo '{"task": "jsonl", "dtype": "f32", "adapter": {"router": {"edge_density": 0.5}}, "train": {"loss_on": "answer"}}' >own.json
good once "${train[@]}" --config own.json --parity --output-dir plain --dry-run --log-level debug --set train.micro_batch_samples=2
holds "$work/stdout" edge_density 0.5
holds "$work/stdout" loss_on '"answer"'
holds "$work/stdout" micro_batch_samples 2
holds "$work/stdout" loss_mean '"micro_batch"'
[ "$(grep -c '^--parity: kept from own.json: adapter.router.edge_density 0.5; from --set: train.micro_batch_samples 2; from own.json: train.loss_on "answer"$' "$work/stderr")" = 1 ] ||
    fail "what --parity does not set: $(grep parity "$work/stderr")"
good "${train[@]}" --parity --output-dir plain --dry-run --set train.micro_batch_samples=8
grep -q 'kept from' "$work/stderr" && fail "a key of the same value is called kept"

# --- misuse
expect 2 '^gmoe-train: --parity: takes no value' "${train[@]}" --parity=yes --output-dir no
expect 2 'parity: no such key; the option --parity sets' "${train[@]}" --set parity=true --output-dir no
for key in train.loss_mean adapter.losses.count_at; do
    expect 2 "$key: \"micro_batch\" needs micro-batches of so many samples; set train.micro_batch_samples" "${train[@]}" --set $key=micro_batch --output-dir no
done
expect 2 'run.json and the command line: train.loss_mean: .*set train.micro_batch_samples' "${train[@]}" --parity --set train.micro_batch_samples=0 --output-dir no
expect 2 'adapter.router.edges: "similarity" compares frozen expert features' "${train[@]}" --parity --set adapter.router.expert_features=embedding --output-dir no
[ ! -e no ] || fail "a refused run made its directory"

# --- killed wherever it is, resumed, the same bytes: counts are taken in the middle of a step, the order is one for all epochs
run=("${train[@]}" --parity --set train.batch_size=4 --set train.micro_batch_samples=3 --set adapter.num_experts=4 --set adapter.router.hidden_size=8
    --set adapter.losses.count=ema --set train.save_every=2 --set train.learning_rate=1e-3)
good "${run[@]}" --output-dir whole
killed=0
for at in 20 45 70 95 120 150; do
    { LD_PRELOAD=$fault ASAN_OPTIONS=verify_asan_link_order=0 FAULT=kill FAULT_AT=$at "${run[@]}" --output-dir killed --resume >log 2>&1; } 2>/dev/null
    [ $? -eq 137 ] && killed=$((killed + 1))
done
[ $killed -ge 3 ] || fail "the run was killed $killed times only"
good "${run[@]}" --output-dir killed --resume
cmp whole/adapter/adapter_model.safetensors killed/adapter/adapter_model.safetensors || fail "the resumed run ends differently"
cmp whole/checkpoints/step-9/optimizer.safetensors killed/checkpoints/step-9/optimizer.safetensors || fail "the resumed run's counts or moments differ"
good "${run[@]}" --output-dir loose --set adapter.losses.count_at=step
cmp -s whole/adapter/adapter_model.safetensors loose/adapter/adapter_model.safetensors && fail "count_at changes nothing"
good "${run[@]}" --output-dir loose --overwrite --set train.reshuffle=true
cmp -s whole/adapter/adapter_model.safetensors loose/adapter/adapter_model.safetensors && fail "reshuffle changes nothing"
for key in train.micro_batch_samples=2 train.reshuffle=true train.loss_mean=step adapter.losses.count_at=step; do
    expect 2 "another configuration: ${key%=*}: .* there, .*${key#*=}.* now" "${run[@]}" --output-dir whole --resume --set $key
done
expect 2 'another configuration: ' "$bin/gmoe-train" --config whole/config.json --output-dir whole --resume --set train.loss_on=answer
good "$bin/gmoe-train" --config whole/config.json --resume # the resolved configuration holds it all

# --- a file of the reference program: translated, noted, resolved, run
cat >theirs.json <<'JSON'
{"cutoff_len": 512, "save_step": 4, "train_strategy": "optim", "frobnicate": 1,
 "lora": [{"name": "named", "task_name": "casual", "optim": "adamw", "lr": 0.001, "batch_size": 4, "micro_batch_size": 2, "test_batch_size": 8,
           "num_epochs": 2, "r": 2, "lora_alpha": 4, "lora_dropout": 0.0, "target_modules": {"q_proj": true, "w1_proj": true, "w2_proj": false},
           "routing_strategy": "goe", "balance_strategy": "goe", "num_experts": 4, "top_k": 2, "num_gcnlayer": 2, "edges_thresholds": 0.4,
           "dim_gcn": 16, "router_route_loss_coef_": 0.005, "router_count_loss_coef_": 8.0, "frobs": true}]}
JSON
theirs=("$bin/gmoe-train" --config theirs.json --base-model "$golden/base" --data-dir "$golden" --set task=jsonl --set dtype=f32)
good "${theirs[@]}" --dry-run --log-level debug
for value in 'output_dir": "named' 'max_length": 512' 'micro_batch_samples": 2' 'save_every": 2' 'edges": "similarity' 'normal": 8' 'loss_mean": "step' 'method": "gmoe'; do
    grep -qF "$value" "$work/stdout" || fail "the resolved configuration lacks $value"
done
for line in '    dim_gcn                  adapter.router.hidden_size 16' 'other keys as ours; --parity takes the reference program' \
    'train_strategy: has no counterpart' 'lora\[0\].test_batch_size: has no counterpart' '[^.]frobnicate: unknown, left out' '    task_name                given on the command line' 'lora\[0\].frobs: unknown, left out'; do
    grep -q -- "$line" "$work/stderr" || fail "the translation does not say: $line"
done
[ "$(grep -c '^warning: theirs.json: ' "$work/stderr")" = 4 ] || fail "not four notes: $(grep '^warning' "$work/stderr")"
good "${theirs[@]}" --parity --quiet
holds named/config.json loss_mean '"micro_batch"'
holds named/config.json hidden_size 16
grep -q 'frobnicate: unknown' "$work/stderr" || fail "--quiet keeps what is left out to itself"
[ -s named/adapter/adapter_model.safetensors ] || fail "a translated file does not run"
sed 's/"goe"/"mixlora"/' theirs.json >mixlora.json
expect 2 'mixlora.json: lora\[0\].routing_strategy: "mixlora": is not built yet' once "${theirs[@]}" --config mixlora.json
sed 's/"lora": \[/&{"name": "first"}, /' theirs.json >two.json
expect 2 'two.json: lora: holds 2 adapters; one is trained at a time' once "${theirs[@]}" --config two.json
finish
