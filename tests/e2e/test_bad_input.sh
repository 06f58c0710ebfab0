#!/bin/bash
# Everything a user can get wrong: the exit status, one line that says what and where, and nothing left in the output directory.
. tests/e2e/common.sh "$1"
golden=tests/golden/llama-gmoe
cp -r "$golden" "$work/good"
cd "$work" || exit 1
train=("$bin/gmoe-train" --config good/config.json --base-model good/base --data-dir good --set train.max_steps=2)
eval=("$bin/gmoe-eval" --base-model good/base --data-dir good --task jsonl)

# refused STATUS PATTERN OPTIONS…: a training run with these options besides; its output directory must not come to be.
refused() {
    local want=$1 pattern=$2
    shift 2
    expect "$want" "$pattern" once "${train[@]}" --output-dir out "$@"
    [ ! -e out ] || fail "something is in the output directory: $(ls out)"
    rm -rf out
}

# with FILE SED-EXPRESSION: a copy of the golden in bad/ with one file changed
with() {
    rm -rf bad
    cp -r good bad
    sed -i -E "$2" "bad/$1"
}

# --- command line and configuration: 2
expect 2 '^gmoe-train: base_model: is missing; give it with --config FILE or --base-model' "$bin/gmoe-train"
expect 2 '^gmoe-train: command line: adapter.top_k: ' "$bin/gmoe-train" --set adapter.top_k=9
expect 2 '^gmoe-train: --confg: no such option; did you mean --config\?' "$bin/gmoe-train" --confg x
expect 2 '^gmoe-train: --config: nowhere.json: No such file' "$bin/gmoe-train" --config nowhere.json
expect 2 '^gmoe-train: good/config.json: output_dir: is missing; give it there or with --output-dir' "${train[@]}"
refused 2 '^gmoe-train: --set: adapter.router.hiden_size: no such key; did you mean adapter.router.hidden_size\?' --set adapter.router.hiden_size=3
refused 2 '^gmoe-train: --set: train.batch_size: is "many"; it must be an integer' --set train.batch_size=many
refused 2 '^gmoe-train: --set: train.batch_size: is 0; it must be between' --set train.batch_size=0
refused 2 "^gmoe-train: --set: adapter.dora: true is not built yet" --set adapter.dora=true
refused 2 'adapter.top_k' --set adapter.top_k=99
refused 2 '^gmoe-train: --set: "nonsense" is not KEY=VALUE' --set nonsense
refused 2 'no task is called "arcc"' --set task=arcc
refused 2 '^gmoe-train: eval.prompt: the task jsonl has no prompt "fancy"; it has paper, lm-eval' --set eval.prompt=fancy
refused 2 '^gmoe-train: nowhere: is no directory' --data-dir nowhere
refused 2 '^gmoe-train: base_model: nowhere: is no directory' --base-model nowhere
refused 2 '^gmoe-train: --set: train.learning_rate: 1e999 is out of range' --set train.learning_rate=1e999
refused 2 '^gmoe-train: --set: seed: is 9007199254740996; it must be between' --set seed=9007199254740995
refused 2 '^gmoe-train: --set: seed: -1e400 is out of range' --set seed=-1e400
refused 2 '^gmoe-train: --set: train.learning_rate: is \[1\]; it must be a number' --set 'train.learning_rate=[1]'
refused 2 '^gmoe-train: --set: train.epochs: is \[1,2\]; it must be an integer' --set 'train.epochs=[1,2]'
refused 2 '^gmoe-train: --set: task: "a" stands twice' --set 'task=["a", "a"]'
refused 2 '^gmoe-train: .*train.mix: has 2 weights for 1 task' --set 'train.mix=[1, 2]'
refused 2 '^gmoe-train: task: x/nowhere.json: there is no such task file' --set task=x/nowhere.json
refused 2 '^gmoe-train: --seeds: "1,x"' --seeds 1,x
refused 2 '^gmoe-train: --seeds: "1-3" is no list of whole numbers; write them as 1,2,3$' --seeds 1-3
refused 2 '^gmoe-train: --set: train.lr: no such key; did you mean train.learning_rate\?' --set train.lr=1
refused 2 '^gmoe-train: .*adapter.num_experts [0-9]+ contradicts method lora \(--set\)' --set method=lora
refused 2 '^gmoe-train: --set: adapter.router.type "none" contradicts method gmoe' --set adapter.router.type=none
refused 2 '^gmoe-train: --resume and --overwrite' --resume --overwrite
refused 2 '^gmoe-train: --device: "tpu"' --device tpu
refused 1 '^gmoe-train: (this build has no CUDA backend; build it with|no NVIDIA driver is loaded|the CUDA backend (does not load|has no kernel)|the NVIDIA driver is too old|there is no CUDA device).*use --device cpu' --device cuda:63
expect 2 '^gmoe-train: --config: is given twice' "$bin/gmoe-train" --config a --config=b
expect 2 '^gmoe-train: --config: FILE is missing' "$bin/gmoe-train" --config --base-model good/base
expect 2 '^gmoe-train: --dtype: no such option; use --set dtype=f32' "${train[@]}" --dtype f32
expect 2 '^gmoe-train: --learning-rate: no such option; use --set train.learning_rate=1e-3' "${train[@]}" --learning-rate=1e-3
expect 2 '^gmoe-train: --lr: no such option; use --set train.learning_rate=1e-3' "${train[@]}" --lr 1e-3
expect 2 '^gmoe-train: --output: no such option; did you mean --output-dir' "${train[@]}" --output x
expect 2 '^gmoe-train: --task: no such option; use --set task=arc-c' "${train[@]}" --task arc-c
expect 2 '^gmoe-train: -c: no such option' "$bin/gmoe-train" -c x
expect 2 '^gmoe-train: environment variable GMOE_CPU_LEVEL: "avx" is none of base, v3, v4' env GMOE_CPU_LEVEL=avx "${train[@]}"
expect 2 'GMOE_CPU_LEVEL: "avx" is none of base, v3, v4' env GMOE_CPU_LEVEL=avx "${eval[@]}"
expect 2 'GMOE_CPU_LEVEL: "avx" is none of base, v3, v4' env GMOE_CPU_LEVEL=avx "$bin/gmoe-bench" --shape tiny
for threads in 100000 1025 0 -1 abc 2,x , 1e3; do
    for program in train eval bench; do
        case $program in train) command=("${train[@]}") ;; eval) command=("${eval[@]}") ;; bench) command=("$bin/gmoe-bench" --shape tiny) ;; esac
        expect 2 "^gmoe-$program: environment variable OMP_NUM_THREADS: \"$threads\" is no number of threads from 1 to 1024\$" \
            env OMP_NUM_THREADS=$threads "${command[@]}"
    done
done
for threads in 2,1 " 2 , 1"; do
    good env OMP_NUM_THREADS="$threads" "$bin/gmoe-bench" --shape tiny --steps 1 --warmup 0 --tokens 8 --sequence 8
done
expect 2 '^gmoe-bench: --steps: must be at least 1' "$bin/gmoe-bench" --shape tiny --steps 0
printf '{"task": "jsonl", "adapter": {"router": {"hiden_size": 3}}}' >typo.json
expect 2 '^gmoe-train: typo.json: adapter.router.hiden_size: no such key; did you mean adapter.router.hidden_size\?' "$bin/gmoe-train" --config typo.json
printf '{"task": "jsonl", "train.epochs": 3}' >dots.json
expect 2 '^gmoe-train: dots.json: train.epochs: a name with dots; .* are nested: "train": \{"epochs": …\}$' \
    "$bin/gmoe-train" --config dots.json
printf '{"adapter": {"router.type": "graph"}}' >dots.json
expect 2 '^gmoe-train: dots.json: adapter: router.type: a name with dots; .* "router": \{"type": …\}$' "$bin/gmoe-train" --config dots.json
printf '{"train":\n {"epochs": 1e999}}' >large.json
expect 2 '^gmoe-train: large.json: line 2: the number 1e999 is out of range' "$bin/gmoe-train" --config large.json
printf '{"task": "jsonl",' >cut.json
expect 2 '^gmoe-train: cut.json: ' "$bin/gmoe-train" --config cut.json
expect 2 '^gmoe-eval: --task NAME is missing' "$bin/gmoe-eval" --base-model good/base
expect 2 '^gmoe-eval: --scoring: "guess"' "${eval[@]}" --scoring guess
expect 2 'no such split' "${eval[@]}" --split dev
expect 2 '^gmoe-eval: --base-model: nowhere: is no directory' once "${eval[@]}" --base-model nowhere

# --- model: 3
with base/config.json 's/("hidden_size": *)[0-9]+/\17/'
refused 3 'bad/base' --base-model bad/base
with base/config.json 's/"llama"/"gpt_oss"/'
refused 3 'bad/base/config.json.*gpt_oss' --base-model bad/base
rm -rf bad && cp -r good bad && truncate -s -100 bad/base/model.safetensors
refused 3 'bad/base/model.safetensors' --base-model bad/base
expect 3 'bad/base/model.safetensors' "$bin/gmoe-eval" --base-model bad/base --data-dir good --task jsonl
truncate -s 5 bad/base/model.safetensors
refused 3 'bad/base/model.safetensors' --base-model bad/base
rm bad/base/model.safetensors
refused 3 'bad/base' --base-model bad/base

# --- tokenizer: 3
with base/tokenizer.json '0,/"type": *"BPE"/s//"type": "Mystery"/'
refused 3 'bad/base/tokenizer.json.*Mystery' --base-model bad/base
truncate -s 100 bad/base/tokenizer.json
refused 3 'bad/base/tokenizer.json' --base-model bad/base
rm bad/base/tokenizer.json
refused 3 'tokenizer.json' --base-model bad/base

# --- data: 3, with file and line
with train.jsonl '3s/"prompt"/"prmpt"/'
refused 3 'bad/train.jsonl: line 3: .*prompt' --data-dir bad
with train.jsonl '2s/^\{/{{/'
refused 3 'bad/train.jsonl: line 2' --data-dir bad
with train.jsonl '4s/"answer": *[0-9]+/"answer": 77/'
refused 3 'bad/train.jsonl: line 4: .*77' --data-dir bad
with test.jsonl '5s/"prompt"/"prmpt"/'
refused 3 'bad/test.jsonl: line 5: .*prompt' --data-dir bad
expect 3 'bad/test.jsonl: line 5: .*prompt' once "${eval[@]}" --data-dir bad
good once "${eval[@]}" --data-dir bad --skip-bad
[ "$(grep -c 'bad/test.jsonl: 1 bad lines were left out' "$work/stderr")" = 1 ] ||
    fail "--skip-bad does not say once how many lines were left out"
good once "${train[@]}" --output-dir skipping --data-dir bad --skip-bad
[ "$(grep -c 'bad lines' "$work/stderr")" = 1 ] ||
    fail "gmoe-train says $(grep -c 'bad lines' "$work/stderr") times how many lines were left out"
: >bad/train.jsonl
refused 3 'bad/train.jsonl' --data-dir bad
rm bad/train.jsonl
refused 3 'the split train of jsonl is not there' --data-dir bad

# --- evaluation splits: one that is not there is none, one that leads nowhere or is empty is a fault
rm -rf bad && cp -r good bad && ln -sf nowhere bad/test.jsonl
refused 3 'bad/test.jsonl: No such file' --data-dir bad
rm bad/test.jsonl && ln -s validation.jsonl bad/validation.jsonl
refused 1 'bad/validation.jsonl: Too many levels' --data-dir bad --set train.eval_every=1
rm bad/validation.jsonl
: >bad/test.jsonl
refused 3 'bad/test.jsonl: holds no item' --data-dir bad

# --- adapter: 3
rm -rf bad && mkdir bad && cp good/init/adapter_model.safetensors bad/
truncate -s -10 bad/adapter_model.safetensors
refused 3 'adapter_model.safetensors' --init-adapter bad
refused 3 'lora_A' --init-adapter good/init --set adapter.rank=3
refused 3 'experts.3|gate.X' --init-adapter good/init --set adapter.num_experts=3
refused 2 '^gmoe-train: --init-adapter: nowhere' --init-adapter nowhere
expect 3 'bad' "${eval[@]}" --adapter bad
good "${train[@]}" --output-dir versioned --set train.max_steps=1
sed -i 's/"gmoe_format_version":"1"/"gmoe_format_version":"2"/' versioned/adapter/adapter_model.safetensors
expect 3 'versioned/adapter/adapter_model.safetensors: has gmoe_format_version 2; this program reads 1' "${eval[@]}" \
    --adapter versioned/adapter
refused 3 '^gmoe-train: --init-adapter: .*gmoe_format_version 2' --init-adapter versioned/adapter
rm -rf bad && cp -r good/init bad
echo '{"peft_type": "LORA", "use_dora": true}' >bad/adapter_config.json
refused 3 '^gmoe-train: --init-adapter: bad/adapter_config.json: use_dora: true is not supported' --init-adapter bad
echo '{"peft_type": "LORA", "modules_to_save": ["lm_head"]}' >bad/adapter_config.json
refused 3 '^gmoe-train: --init-adapter: bad/adapter_config.json: modules_to_save: ' --init-adapter bad/adapter_model.safetensors

# --- output directory: before the weights are read
expect 1 '^gmoe-train: output_dir: ' "${train[@]}" --output-dir good/config.json
expect 1 '^gmoe-train: output_dir: ' "${train[@]}" --output-dir good/config.json/below
expect 1 '^gmoe-train: output_dir: ' once "${train[@]}" --output-dir /proc/gmoe/run --base-model nowhere
expect 1 '^gmoe-eval: --output ' "${eval[@]}" --output nowhere/o.json

# --- names in the output directory that something of another kind has: before the weights are read, nothing through a link
mkdir elsewhere
touch elsewhere/precious
for name in checkpoints adapter best best.tmp adapter.old.tmp; do
    mkdir taken && touch "taken/$name"
    expect 1 "^gmoe-train: output_dir: taken/$name: is no directory" once "${train[@]}" --output-dir taken --base-model good/base
    rm -r taken && mkdir taken && ln -s "$PWD/elsewhere" "taken/$name"
    for option in --overwrite --resume --quiet; do
        expect 1 "^gmoe-train: output_dir: taken/$name: is a symbolic link" "${train[@]}" --output-dir taken $option
    done
    rm -r taken
done
for name in config.json metrics.jsonl result.json lock; do
    mkdir -p "taken/$name"
    expect 1 "^gmoe-train: output_dir: taken/$name: is no regular file" "${train[@]}" --output-dir taken
    rm -r taken && mkdir taken && ln -s "$PWD/elsewhere/precious" "taken/$name"
    expect 1 "^gmoe-train: output_dir: taken/$name: is a symbolic link" "${train[@]}" --output-dir taken --overwrite
    rm -r taken
done
[ -f elsewhere/precious ] && [ ! -s elsewhere/precious ] || fail "something was changed through a link"
mkdir -p taken/checkpoints && touch taken/checkpoints/step-7
expect 2 'taken/checkpoints/step-7: is not of a run' "${train[@]}" --output-dir taken --resume
rm -r taken && mkdir taken && ln -s "$PWD/elsewhere" taken/link && ln -s ../elsewhere taken/checkpoints.link
mkdir taken/checkpoints && ln -s "$PWD/elsewhere" taken/checkpoints/link
expect 2 'output_dir: taken/checkpoints/link: is not of a run' "${train[@]}" --output-dir taken --overwrite
rm taken/checkpoints/link
good "${train[@]}" --output-dir taken --set train.save_every=1
ln -s "$PWD/elsewhere" taken/checkpoints/link
good "${train[@]}" --output-dir taken --overwrite
[ -f elsewhere/precious ] && [ -e taken/link ] && [ -e taken/checkpoints/link ] || fail "a link was followed when a run was replaced"
rm -r taken
good "${train[@]}" --output-dir many/seed-4
mkdir many/summary.json
expect 1 'many/summary.json: is no regular file' "${train[@]}" --output-dir many --seeds 3,4
rmdir many/summary.json
expect 2 'seed 4: output_dir: many/seed-4: holds a run already' "${train[@]}" --output-dir many --seeds 3,4
[ "$(ls many)" = seed-4 ] || fail "a seed was run beside one that cannot be"

# --- directories made for a run that did not come to its first step
mkdir there
expect 3 'nowhere|is not there' once "${train[@]}" --output-dir there/one/two//three/ --data-dir there
expect 2 'nowhere' once "${train[@]}" --output-dir there/one/two --base-model nowhere
expect 2 'nowhere' once "${train[@]}" --output-dir there/one/two --base-model nowhere --seeds 1,2
expect 1 'output_dir: .*: cannot be made: File name too long' "${train[@]}" --output-dir "there/one/$(printf '%0300d' 0)/two"
expect 5 'step 1: ' "${train[@]}" --output-dir there/one/two --set adapter.alpha=1e30 --init-adapter good/init
[ "$(ls there)" = "" ] && rmdir there || fail "directories stay: $(find there)"

# --- a test split without labels: the run is not evaluated at its end, but it is a run
mkdir -p unlabelled/ARC-Challenge
for split in Train Dev Test; do
    for i in 1 2 3; do
        printf '{"id": "%d", "question": {"stem": "where is the kite?", "choices": [{"text": "here", "label": "A"}, ' $i
        printf '{"text": "there", "label": "B"}]}, "answerKey": "B"}\n'
    done >unlabelled/ARC-Challenge/ARC-Challenge-$split.jsonl
done
sed -i 's/"answerKey": "B"/"answerKey": ""/' unlabelled/ARC-Challenge/ARC-Challenge-Test.jsonl
good once "${train[@]}" --data-dir unlabelled --set task=arc-c --output-dir nolabels --set train.max_steps=1
grep -q 'the split test is published without labels' "$work/stderr" && grep -q '^{"tasks": \[\]' nolabels/result.json ||
    fail "a test split without labels"

# --- completions that are not the right choice: learnt, and said once
rm -rf bad && cp -r good bad
cat >bad/train.jsonl <<'JSON'
{"prompt": "is it?", "completion": " yes", "choices": [" yes", " no"], "answer": 0}
{"prompt": "is it?", "completion": " no", "choices": [" yes", " no"], "answer": 0}
{"prompt": "is it?", "completion": "yes", "choices": [" yes", " no"], "answer": 0}
{"prompt": "is it?", "completion": " perhaps"}
JSON
good once "${train[@]}" --data-dir bad --output-dir wrong --set train.max_steps=1
[ "$(grep -c '^warning: bad/train.jsonl: 2 of 4 lines have a completion that is not their right choice (1 of them none of the choices, .* line 2)' \
    "$work/stderr")" = 1 ] || fail "wrong completions: $(grep warning "$work/stderr")"
good "${train[@]}" --output-dir right --set train.max_steps=1
grep -q 'right choice' "$work/stderr" && fail "right completions are called wrong"

# --- experts without tokens, and what is said while a split is evaluated
good "${train[@]}" --output-dir idle --set adapter.num_experts=64 --set adapter.top_k=1 --set train.max_steps=1
[ "$(grep -c '^warning: [0-9]* experts never got a token: layer 0: ' "$work/stderr")" = 1 ] ||
    fail "experts without tokens are not named once"
grep -q 'idle_experts in result.json); adapter.router.token_gain 100 (here 1) lets tokens differ from the first step; more steps, a higher adapter.losses.normal' \
    "$work/stderr" || fail "no remedy for experts without tokens: $(grep 'never got' "$work/stderr")"
grep -q '^ "idle_experts": \[{"layer": 0, "experts": \[[0-9]' idle/result.json || fail "no idle_experts"
python3 -c 'import json; json.load(open("idle/result.json"))' 2>/dev/null || ! command -v python3 >/dev/null ||
    fail "result.json is no JSON"
grep -q '^evaluating jsonl test with the final adapter: 5 items' "$work/stderr" || fail "the evaluation at the end is not announced"

# --- a run that is there already
good "${train[@]}" --output-dir out --quiet
cp -r out before
expect 2 '^gmoe-train: output_dir: out: holds a run already; continue it with --resume' "${train[@]}" --output-dir out
diff -r before out >/dev/null || fail "the existing run was changed by a refused one"
expect 2 'batch_size' "${train[@]}" --output-dir out --overwrite --set train.batch_size=0
expect 3 'nowhere|is not there' once "${train[@]}" --output-dir out --overwrite --data-dir before
diff -r before out >/dev/null || fail "the existing run was changed by a faulty --overwrite"
good "${train[@]}" --output-dir out --overwrite --set seed=9
grep -q '"seed": 9' out/config.json || fail "--overwrite did not replace the run"
(flock -n 9 || fail "the lock was left behind"; expect 1 'another program is training there' "${train[@]}" --output-dir out --overwrite) 9>out/lock
rm -f out/lock

# --- standard output that is closed, and full
"$bin/gmoe-train" --help >/dev/full 2>"$work/stderr"
[ $? -eq 1 ] || fail "a full standard output is no failure"

# --- no memory: 4, naming what it was for and the keys that say how much
limited() { # MEGABYTES of address space, COMMAND…
    (ulimit -v $(($1 * 1024)) && shift && exec "$@")
}
if ! nm -D "$bin/gmoe-train" 2>/dev/null | grep -q asan; then # the sanitizers reserve terabytes
    expect 4 '^gmoe-train: the adapter: out of memory: .*; a lower adapter.rank, ' limited 900 "${train[@]}" \
        --output-dir thirsty --set adapter.rank=4096 --set adapter.num_experts=256 --set train.max_steps=1
    for i in $(seq 12); do cat good/train.jsonl good/train.jsonl; done >many.jsonl
    mkdir -p long && for i in $(seq 40); do cat many.jsonl; done >long/train.jsonl
    expect 4 '^gmoe-train: the (training step|memory plan): out of memory: .*; a lower train.micro_batch_tokens, ' once limited 900 \
        "${train[@]}" --output-dir thirsty --data-dir long --set train.batch_size=9600 --set train.micro_batch_tokens=1000000
    [ ! -e thirsty ] || fail "something is left of a run without memory"
fi

# --- divergence: 5, naming step and term, with the last good checkpoint in place
expect 5 '^gmoe-train: step [0-9]+: (ce|loss|grad_norm|poisson|normal) is .*; the last good checkpoint is diverged/checkpoints/step-' \
    "${train[@]}" --output-dir diverged --init-adapter good/init --set train.learning_rate=1 \
    --set train.max_steps=500 --set train.save_every=1 --set train.weight_decay=10
[ -e diverged/checkpoints ] || fail "no checkpoint is left after a divergence"
[ ! -e diverged/adapter ] || fail "a diverged run has an adapter"
good_one=$(sed -n 's/.*the last good checkpoint is //p' "$work/stderr")
[ -s "$good_one/MANIFEST" ] || fail "$good_one is no checkpoint"
# in the last update, which no loss follows: values that are not finite, or finite ones that make scores that are not
last=("${train[@]}" --set train.learning_rate=1e6 --set train.weight_decay=1e6 --set train.save_every=1)
expect 5 'gmoe-train: step 1: its update leaves values .* not finite; .*; there is no good checkpoint$' "${last[@]}" \
    --output-dir last --set train.max_steps=1 --set adapter.router.token_gain=1e28
[ ! -e last/adapter ] && [ "$(ls last/checkpoints 2>/dev/null)" = "" ] || fail "a run that diverged at its last step wrote its values"
expect 5 'gmoe-train: step 1: .*: a score is not finite; there is no good checkpoint$' "${last[@]}" --output-dir last \
    --overwrite --set train.max_steps=1 --set adapter.router.token_gain=1e15
[ ! -e last/adapter ] || fail "an adapter whose scores are not finite is published"
cp good/test.jsonl good/validation.jsonl
expect 5 'gmoe-train: step 1: its update|gmoe-train: step 1: .*: a score is not finite' "${last[@]}" --output-dir last \
    --overwrite --set train.max_steps=1 --set adapter.router.token_gain=1e28 --set train.eval_every=1
[ ! -e last/adapter ] && [ ! -e last/best ] || fail "best/ of values that are not finite"
rm good/validation.jsonl
expect 3 'of piqa is not there' once "${eval[@]}" --task jsonl,piqa --output several.json
[ ! -e several.json ] && ! grep -q accuracy "$work/stdout" || fail "a task is scored although the next one's file is missing"
# choices that label scoring cannot tell apart are counted
printf '{"prompt":"the","completion":" a","choices":[" the a"," the b"," a"," the a"],"answer":0}\n' >bad/test.jsonl
good once "${eval[@]}" --data-dir bad --scoring label --output eval.json
grep -q 'in 1 of 1 items some choices have the same token .*; --scoring likelihood' "$work/stderr" || fail "tied choices are not announced"
printf '[\n {"prompt":"p","completion":"c"}\n]\n' >bad/test.jsonl
expect 3 'bad/test.jsonl: line 1: begins a JSON array; one object a line is wanted' once "${eval[@]}" --data-dir bad
world=$(realpath "$GMOE_TASKS/../../assets/world/base")
printf '{"prompt":"q: the crea","choices":["tures are","m is","xx yes"],"answer":0}\n' >bad/test.jsonl
expect 3 "line 1: a choice and the prompt's end make a token that other choices do not make: .* use likelihood" once "${eval[@]}" \
    --base-model "$world" --data-dir bad --scoring label
printf '{"prompt":"the","choices":[" a"," b"," a"],"answer":2}\n{"prompt":"the","choices":[" a"],"answer":0}\n' >bad/test.jsonl
good once "${eval[@]}" --data-dir bad --scoring likelihood
grep -q 'jsonl test: in 1 of 2 items some choices are the same, and the first of these is taken' "$work/stderr" || fail "choices that are the same are not announced"
grep -q 'jsonl test: 1 of 2 items have one choice, which is always right' "$work/stderr" || fail "a single choice is not announced"
grep -q '"base_model": "good/base", "adapter": ' eval.json && grep -q '"dtype": "' eval.json || fail "--output does not say what was evaluated"
finish
