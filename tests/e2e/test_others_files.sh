#!/bin/bash
# What is not of a run stays as it is: base models, data, other programs' checkpoints, notes; and scores of different things are
# not mixed.
. tests/e2e/common.sh "$1"
take_golden_data
cp -r "$golden/base" "$work/base"
cd "$work" || exit 1
train=("$bin/gmoe-train" --config "$golden/config.json" --base-model base --data-dir data --set train.max_steps=2 --set train.save_every=1
    --set train.eval_every=1)
good "${train[@]}" --output-dir run --init-adapter "$golden/init"

# kept STATUS PATTERN DIRECTORY COMMAND…: refused, and the directory is what it was
kept() {
    local status=$1 pattern=$2 directory=$3
    shift 3
    rm -rf before && cp -r "$directory" before
    expect "$status" "$pattern" once "$@"
    diff -r before "$directory" >/dev/null || fail "$directory was changed by: $*: $(diff -rq before "$directory" | head -3)"
}

# --- a base model's directory, another program's checkpoints, notes, in place of a run
cp -r base model
mkdir -p model/checkpoints model/best
echo weights >model/checkpoints/epoch3.pt
echo weights >model/best/weights.bin
cp -r model other && rm other/config.json
mkdir bare && cp -r other/best bare
mkdir -p steps/checkpoints/step-3 && echo weights >steps/checkpoints/step-3/pytorch_model.bin
mkdir -p page && echo mine >page/report.html
mkdir -p locked && echo mine >locked/lock
mkdir -p leftover/best.tmp && echo mine >leftover/best.tmp/notes
for option in --resume --overwrite --quiet; do
    kept 2 'output_dir: model/config.json: is not of a run of gmoe-train' model "${train[@]}" --output-dir model $option
    kept 2 'output_dir: other/best/weights.bin: is not of a run' other "${train[@]}" --output-dir other $option
    kept 2 'output_dir: bare/best/weights.bin: is not of a run' bare "${train[@]}" --output-dir bare $option
    kept 2 'output_dir: steps/checkpoints/step-3: is not of a run' steps "${train[@]}" --output-dir steps $option
    kept 2 'output_dir: page/report.html: is not of a run' page "${train[@]}" --output-dir page $option
    kept 2 'output_dir: locked/lock: is not of a run' locked "${train[@]}" --output-dir locked $option
    kept 2 'output_dir: leftover/best.tmp/notes: is not of a run' leftover "${train[@]}" --output-dir leftover $option
done
rm -r other/best
kept 2 'output_dir: other/checkpoints/epoch3.pt: is not of a run' other "${train[@]}" --output-dir other --overwrite
# beside a run's own files: what is replaced as a whole holds nothing else, other things stay
cp -r run mixed
echo mine >mixed/best/notes
kept 2 'output_dir: mixed/best/notes: is not of a run' mixed "${train[@]}" --output-dir mixed --overwrite
rm mixed/best/notes
mkdir mixed/checkpoints/step-9 && echo mine >mixed/checkpoints/step-9/pytorch_model.bin
kept 2 'output_dir: mixed/checkpoints/step-9/pytorch_model.bin: is not of a run' mixed "${train[@]}" --output-dir mixed --resume
rm -r mixed/checkpoints/step-9
cp base/config.json mixed/config.json
kept 2 'output_dir: mixed/config.json: is not of a run' mixed "${train[@]}" --output-dir mixed --overwrite
cp run/config.json mixed/config.json
echo mine >mixed/notes
echo mine >mixed/checkpoints/epoch3.pt
mkdir mixed/extra && echo mine >mixed/extra/metrics.jsonl
good "${train[@]}" --output-dir mixed --overwrite
good "${train[@]}" --output-dir mixed --resume --set train.max_steps=3
for mine in notes checkpoints/epoch3.pt extra/metrics.jsonl; do
    [ "$(cat mixed/$mine 2>/dev/null)" = mine ] || fail "mixed/$mine is gone"
done

# --- base model, data or first adapter in what is replaced
cp -r run in && cp base/* in/best/ 2>/dev/null
mkdir -p in/checkpoints/data && cp data/* in/checkpoints/data
for option in --overwrite --resume --quiet; do
    kept 2 '^gmoe-train: base_model: in/best: lies in what the run replaces' in "${train[@]}" --output-dir in --base-model in/best $option
    kept 2 '^gmoe-train: data_dir: .*: lies in what the run replaces' in "${train[@]}" --output-dir in --data-dir "$PWD/in/../in/checkpoints/data" $option
    kept 2 '^gmoe-train: --init-adapter: run/best: lies in what the run replaces' run "${train[@]}" --output-dir ./run --init-adapter run/best $option
done
ln -s in/best linked
kept 2 '^gmoe-train: base_model: linked: lies in what the run replaces' in "${train[@]}" --output-dir in --base-model linked --overwrite
mkdir -p many/seed-3 && cp -r base many/seed-3/best
kept 2 'seed 3: base_model: .*: lies in what the run replaces' many "${train[@]}" --output-dir many --base-model many/seed-3/best --overwrite --seeds 2,3
# a task may name a file that a run writes
mkdir own && sed 's/"train.jsonl"/"metrics.jsonl"/' "$GMOE_TASKS/jsonl.json" >own.json
cp data/*.jsonl run/config.json own && mv own/train.jsonl own/metrics.jsonl
kept 2 'data_dir: own/metrics.jsonl: lies in what the run replaces' own "${train[@]}" --data-dir own --set task=./own.json --output-dir own --overwrite

# --- seeds and single runs
kept 2 'output_dir: run: holds a run; give --seeds another output_dir' run "${train[@]}" --output-dir run --seeds 1,2 --overwrite
cp -r run noted && echo mine >noted/seed-notes && mkdir noted/seed-x
good "${train[@]}" --output-dir noted --resume
[ "$(cat noted/seed-notes)" = mine ] || fail "a note called seed-notes"
mkdir -p sums && echo '{"mine": 1}' >sums/summary.json
kept 2 'output_dir: sums/summary.json: is not of gmoe-train' sums "${train[@]}" --output-dir sums --seeds 1,2

# --- the scores of finished seeds are of the same base model and data
seeds=("${train[@]}" --output-dir series --seeds 1,2)
good "${seeds[@]}"
rm series/seed-2/result.json
cp -r base edited # a byte in the middle of the largest tensor
size=$(stat -c %s edited/model.safetensors)
printf '\x3f' | dd of=edited/model.safetensors bs=1 seek=$((size / 2 + 1)) conv=notrunc 2>/dev/null
cmp -s base/model.safetensors edited/model.safetensors && printf '\x3e' | dd of=edited/model.safetensors bs=1 seek=$((size / 2 + 1)) conv=notrunc 2>/dev/null
expect 2 'seed 1: series/seed-1: was made with another base model' once "${seeds[@]}" --resume --base-model edited
expect 2 'run: was made with another base model|run/checkpoints/step-2: was made with another base model' once "${train[@]}" --output-dir run --resume --base-model edited
cp -r data changed && sed -i '1d' changed/test.jsonl
expect 2 'seed 1: series/seed-1: was made with another data set \(the test split' once "${seeds[@]}" --resume --data-dir changed
cp data/* changed && sed -i '1s/e/i/' changed/train.jsonl
expect 2 'seed 1: series/seed-1: was made with another data set \(the training split' once "${seeds[@]}" --resume --data-dir changed
[ ! -e series/seed-2/result.json ] || fail "a seed was run beside others of another base model"
good "${seeds[@]}" --resume

# --- a task file that ends samples otherwise
cp "$GMOE_TASKS/jsonl.json" task.json
good "${train[@]}" --output-dir eos --set task=./task.json
grep -q '"append_eos": *true' task.json || fail "the task file has no append_eos"
sed -i 's/"append_eos": *true/"append_eos": false/' task.json
expect 2 'data set \(the training split' "${train[@]}" --output-dir eos --set task=./task.json --resume

# --- what is said: the first adapter that is not used, other threads, another scale, layers that are not used, two files of a split
good "${train[@]}" --output-dir run --resume --init-adapter "$golden/init"
grep -q -e '--init-adapter: .*: is not used: the run goes on from run/checkpoints/step-2' "$work/stderr" || fail "an unused --init-adapter"
good env OMP_NUM_THREADS=2 "${train[@]}" --output-dir run --resume --quiet
grep -q 'run/checkpoints/step-2: was made with 1 threads, there are 2 now' "$work/stderr" || fail "other threads are not announced"
good "${train[@]}" --output-dir scaled --init-adapter run/adapter --set adapter.alpha=64 --set adapter.top_k=1 --set adapter.rslora=true --quiet
grep -q 'run/adapter/adapter_config.json: .*alpha .* there, 64 now; rslora false there, true now; top_k 2 there, 1 now' "$work/stderr" ||
    fail "another scale of the first adapter: $(cat "$work/stderr")"
good "${train[@]}" --output-dir same --init-adapter run/adapter/adapter_model.safetensors --quiet
[ ! -s "$work/stderr" ] || fail "the same scale is announced: $(cat "$work/stderr")"
cp -r base short && sed -i -E 's/("num_hidden_layers": *)[0-9]+/\11/' short/config.json
good once "${train[@]}" --output-dir short-run --base-model short --quiet
grep -q 'holds layers up to [0-9]*; num_hidden_layers in config.json is 1' "$work/stderr" || fail "unused layers are not announced"
cp -r data twice && gzip -k twice/test.jsonl
good once "${train[@]}" --output-dir twice-run --data-dir twice --quiet
[ "$(grep -c 'twice/test.jsonl: is read, and not twice/test.jsonl.gz' "$work/stderr")" = 1 ] || fail "two files of a split are not announced once"

# --- numbers
expect 2 'seed: is 9007199254740992; it must be between 0 and 9007199254740991' "${train[@]}" --output-dir no --set seed=9007199254740992
expect 2 'no list of whole numbers' "${train[@]}" --output-dir no --seeds 9007199254740992
expect 2 '^gmoe-bench: --tokens and --sequence: ' "$bin/gmoe-bench" --shape tiny --tokens 0
expect 2 '^gmoe-bench: --tokens and --sequence: ' "$bin/gmoe-bench" --shape tiny --sequence 0

# --- gmoe-eval writes over nothing that it reads
eval=("$bin/gmoe-eval" --base-model base --adapter run/adapter --data-dir data --task jsonl)
ln -s base/config.json by-link.json
for option in --output --items; do
    kept 2 "^gmoe-eval: $option base/config.json: is a file of --base-model" base "${eval[@]}" $option base/config.json
    kept 2 "^gmoe-eval: $option base/../base/model.safetensors: is a file of --base-model" base "${eval[@]}" $option base/../base/model.safetensors
    kept 2 "^gmoe-eval: $option by-link.json: is a file of --base-model" base "${eval[@]}" $option by-link.json
    kept 2 "^gmoe-eval: $option .*: is a file of --adapter" run "${eval[@]}" $option "$PWD/run/adapter/adapter_model.safetensors"
    kept 2 "^gmoe-eval: $option data/test.jsonl: is a file of the task jsonl" data "${eval[@]}" $option data/test.jsonl
    kept 2 "^gmoe-eval: $option data/train.jsonl: is a file of the task jsonl" data "${eval[@]}" $option data/train.jsonl
    kept 2 "^gmoe-eval: $option ./task.json: is a file of the task" data once "${eval[@]}" --task ./task.json $option ./task.json
done
expect 2 '^gmoe-eval: --output and --items: name the same file' "${eval[@]}" --output o.json --items ./o.json
touch o.json && ln -s o.json p.json
expect 2 '^gmoe-eval: --output and --items: name the same file' "${eval[@]}" --output o.json --items p.json
good "${eval[@]}" --output data/scores.json --items run/adapter/items.jsonl
good "${eval[@]}" --output data/scores.json # again
rm run/adapter/items.jsonl

# --- the directory of a run that goes on is moved, and another run takes its name
for how in moved removed; do
    "${train[@]}" --output-dir going --set train.max_steps=100000 --set train.save_every=20 --set train.epochs=100000 --set train.eval_every=0 >log 2>&1 &
    pid=$!
    for i in $(seq 400); do [ -e going/checkpoints/step-20 ] && break; sleep 0.05; done
    if [ $how = moved ]; then
        mv going gone
        good "${train[@]}" --output-dir going
        rm -rf before && cp -r going before
    else
        mv going gone && rm -r gone
    fi
    for i in $(seq 400); do kill -0 $pid 2>/dev/null || break; sleep 0.05; done
    kill -9 $pid 2>/dev/null && fail "a run whose directory was $how goes on"
    wait $pid 2>/dev/null
    [ $? -eq 1 ] && tail -1 log | grep -q '^gmoe-train: output_dir: going: was moved or removed' || fail "a run whose directory was $how: $(tail -1 log)"
    if [ $how = moved ]; then
        diff -r before going >/dev/null || fail "two runs are mixed: $(diff -rq before going)"
    else
        [ ! -e going ] || fail "a removed directory is made again: $(find going)"
    fi
    rm -rf going gone
done

# --- a signal before anything is read
SIGNAL_AT=$golden/config.json LD_PRELOAD=$(realpath "$bin/../tests/preload_signal.so") ASAN_OPTIONS=verify_asan_link_order=0 \
    "${train[@]}" --output-dir early >log 2>&1
status=$?
[ $status -eq 0 ] && [ -e early/result.json ] || fail "SIGUSR2 at the beginning: exit status $status"
finish
