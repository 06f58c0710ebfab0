#!/bin/bash
# However a run is stopped, the resumed one ends with the same bytes as one that was not.
. tests/e2e/common.sh "$1"
take_golden_data
cd "$work" || exit 1
steps=${RESUME_STEPS:-400}
# 10 samples in batches of 4: an epoch's last batch is smaller; 60 tokens a micro-batch: several a step.
train=("$bin/gmoe-train" --config "$golden/config.json" --base-model "$golden/base" --data-dir data --init-adapter "$golden/init"
    --set train.max_steps=$steps --set train.epochs=1000 --set train.micro_batch_tokens=60 --set train.shuffle=true --set train.learning_rate=1e-3
    --set train.eval_every=40 --set train.save_every=7 --set adapter.losses.count=ema --set adapter.dropout=0.1)

# What must be equal: adapters, metrics but for times, and the load of experts.
essence() {
    sed -E 's/,"(tokens_per_s|seconds|samples_per_s)":[-0-9.e+]*//g' "$1/metrics.jsonl" | grep -v '"event":"checkpoint"' >"$work/$1.metrics"
    sed -n '/"expert_load"/,$p' "$1/result.json" >>"$work/$1.metrics"
    cat "$work/$1.metrics" "$1/adapter/adapter_model.safetensors" "$1/best/adapter_model.safetensors" | cksum
}
same() {
    [ "$(essence "$1")" = "$(essence whole)" ] || { fail "$2: the resumed run ends differently"; diff "$work/$1.metrics" "$work/whole.metrics" | head -4; }
}
last_step() { grep -o '"step":[0-9]*' "$1/metrics.jsonl" | tail -1 | cut -d: -f2; }

milliseconds() { date +%s%3N; }
begin=$(milliseconds)
good "${train[@]}" --output-dir whole
whole_time=$(($(milliseconds) - begin)) # moments to stop at are shares of it, so that runs are stopped on any machine
# pause FROM TO: a random share between FROM and TO per cent of the whole run's time
pause() { sleep "$(awk -v ms=$((whole_time * ($1 + RANDOM % ($2 - $1)) / 100)) 'BEGIN { print ms / 1000 }')"; }
[ "$(ls whole/checkpoints | wc -l)" = 2 ] || fail "not two checkpoints are kept: $(ls whole/checkpoints)"
[ ! -e whole/lock ] || fail "the lock is left"

# --- kill -9 at random moments
RANDOM=${SEED:-$$}
echo "seed $RANDOM"
kills=0
for attempt in $(seq 8); do # 8 times 12 % on average: some run is never far from its end
    "${train[@]}" --output-dir killed --resume >log 2>&1 &
    pid=$!
    pause 4 20
    kill -9 $pid 2>/dev/null && kills=$((kills + 1))
    wait $pid 2>/dev/null
done
good "${train[@]}" --output-dir killed --resume
same killed "kill -9"
echo "killed $kills times"
[ $kills -ge 3 ] || fail "the run ended before it could be killed"
ls killed killed/checkpoints | grep -q tmp && fail "something half-written is left: $(ls killed killed/checkpoints)"

# --- SIGTERM, SIGUSR1, SIGINT: 75 after saving
stops=0
for signal in TERM USR1 INT TERM TERM; do
    "${train[@]}" --output-dir stopped --resume >log 2>&1 &
    pid=$!
    while [ ! -e stopped/metrics.jsonl ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
    pause 3 15
    kill -$signal $pid 2>/dev/null
    wait $pid
    status=$?
    if [ $status -eq 75 ]; then
        stops=$((stops + 1))
        step=$(last_step stopped)
        if [ -n "$step" ] && [ ! -e "stopped/checkpoints/step-$step" ] && grep -q 'is saved' log; then fail "SIG$signal at step $step: no checkpoint: $(tail -1 log)"; fi
    elif [ $status -ne 0 ]; then
        fail "SIG$signal: exit status $status: $(tail -1 log)"
    fi
done
good "${train[@]}" --output-dir stopped --resume
same stopped "signals"
echo "stopped $stops times"
[ $stops -ge 2 ] || fail "the run ended before it could be stopped"

# --- activation checkpointing changes no bit: without, with, and resumed across the change
for dtype in f32 bf16; do
    steps=(once "${train[@]}" --set dtype=$dtype --set train.max_steps=8 --set train.save_every=4 --set train.eval_every=0)
    good "${steps[@]}" --output-dir kept-$dtype
    good "${steps[@]}" --output-dir again-$dtype --set train.activation_checkpointing=true
    for first in true false; do
        good "${steps[@]}" --output-dir crossed-$dtype-$first --set train.max_steps=4 --set train.activation_checkpointing=$first
        [ $first = true ] && then=false || then=true
        good "${steps[@]}" --output-dir crossed-$dtype-$first --resume --set train.activation_checkpointing=$then
        grep -q 'resumed from .*step-4' "$work/stderr" || fail "$dtype: not resumed across the change"
    done
    for run in again-$dtype crossed-$dtype-true crossed-$dtype-false; do
        cmp kept-$dtype/adapter/adapter_model.safetensors $run/adapter/adapter_model.safetensors || fail "$run: another adapter"
        cmp kept-$dtype/checkpoints/step-8/optimizer.safetensors $run/checkpoints/step-8/optimizer.safetensors || fail "$run: other moments"
    done
done
cmp -s kept-f32/adapter/adapter_model.safetensors kept-bf16/adapter/adapter_model.safetensors && fail "dtype changes nothing"

# --- at an epoch's edge, in the middle of an epoch, at the last step: a run that ends there and is told to go on
for edge in 1 3 6 7; do
    rm -rf edge
    good "${train[@]}" --output-dir edge --set train.max_steps=$edge
    good "${train[@]}" --output-dir edge --resume
    grep -q "resumed from .*step-$edge" "$work/stderr" || fail "not resumed at step $edge"
    # the shorter run evaluated at its end: its best/ and its events may differ
    cmp -s edge/adapter/adapter_model.safetensors whole/adapter/adapter_model.safetensors || fail "resumed at step $edge: another adapter"
done
[ -s stopped/report.html ] && cmp -s <(grep 'class="line"' whole/report.html) <(grep 'class="line"' stopped/report.html) || fail "the resumed run's report shows other curves"

good "${train[@]}" --output-dir edge --resume # a finished run stays as it is
cmp -s edge/adapter/adapter_model.safetensors whole/adapter/adapter_model.safetensors || fail "resuming a finished run changed it"

# --- asked to save: SIGUSR2, and a file
"${train[@]}" --output-dir asked --set train.save_every=0 --set train.max_steps=100000 >log 2>&1 &
pid=$!
while [ ! -e asked/metrics.jsonl ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
kill -USR2 $pid
for i in $(seq 100); do [ "$(ls asked/checkpoints 2>/dev/null | grep -vc tmp)" -ge 1 ] && break; sleep 0.05; done
[ "$(ls asked/checkpoints 2>/dev/null | wc -l)" -ge 1 ] || fail "SIGUSR2 saved nothing"
first=$(ls asked/checkpoints)
touch asked/save-now
for i in $(seq 100); do [ "$(ls asked/checkpoints)" != "$first" ] && break; sleep 0.05; done
[ "$(ls asked/checkpoints)" != "$first" ] || fail "save-now saved nothing"
[ ! -e asked/save-now ] || fail "save-now is still there"
expect 1 'another program is training there' "${train[@]}" --output-dir asked --resume
kill -TERM $pid
wait $pid
[ $? -eq 75 ] || fail "SIGTERM after saves on request"

# --- a damaged checkpoint: the one before it is taken, loudly; all damaged: an error
newest=$(ls whole/checkpoints | sort -t- -k2n | tail -1)
older=$(ls whole/checkpoints | sort -t- -k2n | head -1)
cp -r whole damaged
printf x | dd of="damaged/checkpoints/$newest/optimizer.safetensors" bs=1 seek=3000 conv=notrunc 2>/dev/null
good "${train[@]}" --output-dir damaged --resume
grep -q "falling back" "$work/stderr" && grep -q "resumed from .*$older" "$work/stderr" || fail "no fall-back to $older"
same damaged "fall-back"
for step in $(ls damaged/checkpoints); do rm "damaged/checkpoints/$step/MANIFEST"; done
expect 3 'every checkpoint is damaged' "${train[@]}" --output-dir damaged --resume

# --- what may not change, and what may
expect 2 'adapter.rank: 2 there, 3 now' "${train[@]}" --output-dir whole --resume --set adapter.rank=3
expect 2 'train.learning_rate: 0.001 there' "${train[@]}" --output-dir whole --resume --set train.learning_rate=1e-2
sed -i '1s/e/i/' data/train.jsonl
expect 2 'data set \(the training split' "${train[@]}" --output-dir whole --resume
head -9 "$golden/train.jsonl" >data/train.jsonl
expect 2 'made with 10 training samples; there are 9' "${train[@]}" --output-dir whole --resume
cp "$golden/train.jsonl" data/train.jsonl
sed -i '1d' data/validation.jsonl
expect 2 'data set \(the validation split' "${train[@]}" --output-dir whole --resume
rm data/validation.jsonl
expect 2 'data set \(the validation split' "${train[@]}" --output-dir whole --resume
cp "$golden/test.jsonl" data/validation.jsonl
cp -r "$golden/base" base
printf '\x01' | dd of=base/model.safetensors bs=1 seek=$(($(stat -c %s base/model.safetensors) - 3)) conv=notrunc 2>/dev/null
expect 2 'another base model' once "${train[@]}" --output-dir whole --resume --base-model base
expect 2 "past the run's end" "${train[@]}" --output-dir whole --resume --set train.max_steps=3
good "${train[@]}" --output-dir whole --resume --set train.save_every=3 --set train.eval_every=50 --set train.keep_checkpoints=5

# --- evaluated past the last checkpoint, killed, resumed with other intervals: best/ and what is said of it are one evaluation's
mkdir lossy
grep -h -o '"prompt": *"[^"]*"' data/train.jsonl | sed 's/.*/{&, "completion": " in the bag"}/' >lossy/train.jsonl
cp lossy/train.jsonl lossy/validation.jsonl
odd=(once "${train[@]}" --data-dir lossy --set train.micro_batch_tokens=1000 --set train.learning_rate=1e-2 --output-dir odd)
good "${odd[@]}" --set train.max_steps=9 --set train.eval_every=4 --set train.save_every=6
best_value() { grep -o '"loss": [0-9.e+-]*' "$1" | head -1; }
[ "$(cat odd/best/evaluation.json | grep -o '"step": 9')" ] || fail "the loss does not fall: $(cat odd/best/evaluation.json)"
rm -r odd/checkpoints/step-9 odd/result.json odd/adapter
good "${odd[@]}" --resume --set train.max_steps=7 --set train.eval_every=100 # evaluates at step 7 alone, which is worse
grep -q '"best": {"step": 9,' odd/result.json || fail "best/ of step 9 is called $(grep -o '"best": {[^}]*}' odd/result.json)"
[ "$(best_value odd/best/evaluation.json)" = "$(grep -o '"best": {[^}]*}' odd/result.json | grep -o '"loss": [0-9.e+-]*')" ] ||
    fail "best/ and result.json have different losses"
grep -aq '"step":"9"' odd/best/adapter_model.safetensors || fail "best/ is not of the step that it names"
good "${odd[@]}" --resume --set train.max_steps=12 --set train.eval_every=0 # not evaluated any more: best/ stays, and is named
grep -q '"best": {"step": 9,' odd/result.json || fail "best/ is forgotten: $(grep -o '"best": {[^}]*}' odd/result.json)"
rm -r odd/best
good "${odd[@]}" --resume --set train.max_steps=14 --set train.eval_every=100
grep -q '"best": {"step": 14,' odd/result.json && grep -aq '"step":"14"' odd/best/adapter_model.safetensors ||
    fail "best/ that was removed is not made anew"

# --- a damaged best/ is found at once and made anew
printf 'x' | dd of=odd/best/adapter_model.safetensors bs=1 seek=3000 conv=notrunc 2>/dev/null
good "${odd[@]}" --resume --set train.max_steps=15 --set train.eval_every=100
grep -q 'odd/best/adapter_model.safetensors: its bytes have changed .*; the next evaluation makes best/ anew' "$work/stderr" ||
    fail "a damaged best/ is not noticed"
grep -q '"best": {"step": 15,' odd/result.json || fail "a damaged best/ is not made anew"

# --- names like a checkpoint's
mkdir odd/checkpoints/step-007
good "${odd[@]}" --resume --set train.max_steps=16 --set train.eval_every=100

# --- fewer threads than OpenMP was asked for
first_loss() { sed -n 's/.*"step":1,.*"ce":\([0-9.]\{7\}\).*/\1/p' "$1/metrics.jsonl" | head -1; }
good "${train[@]}" --output-dir plain --set train.max_steps=1 --set train.eval_every=0
for limit in OMP_THREAD_LIMIT=1 OMP_DYNAMIC=true OMP_MAX_ACTIVE_LEVELS=0; do
    good env $limit OMP_NUM_THREADS=2 "${train[@]}" --output-dir few --overwrite --set train.max_steps=1 --set train.eval_every=0
    [ -n "$(first_loss few)" ] && [ "$(first_loss few)" = "$(first_loss plain)" ] || fail "$limit: the loss is $(first_loss few), not $(first_loss plain)"
done

# --- several seeds: those that are done are not run again
seeds=("${train[@]}" --set train.max_steps=8 --set train.save_every=4 --set train.eval_every=4 --seeds 5,6)
good "${seeds[@]}" --output-dir seeds
grep -Eq '^mean +0\.[0-9]+ +0\.[0-9]+$' "$work/stdout" && grep -q '^Std ' "$work/stdout" || fail "no mean or no Std: $(cat "$work/stdout")"
cp seeds/summary.json summary.json
"${train[@]}" --output-dir seeds --resume 2>log && fail "a single run goes on where runs of several seeds lie"
grep -q 'seeds: holds runs of several seeds (seeds/seed-5); give --seeds' log || fail "a single run among seeds: $(tail -1 log)"
[ -e seeds/summary.json ] || fail "the refused run removed summary.json"
"${train[@]}" --output-dir absent --resume --set train.max_steps=1 2>log || fail "--resume of nothing fails"
grep -q 'absent: has no run to resume: the run starts from the beginning' log || fail "--resume of nothing does not say so"
rm seeds/seed-6/result.json seeds/summary.json
touch -d '1 hour ago' seeds/seed-5/result.json
good "${seeds[@]}" --output-dir seeds --resume
cmp -s seeds/summary.json summary.json || fail "--seeds --resume: another summary"
[ -n "$(find seeds/seed-5/result.json -mmin +30)" ] || fail "a seed that was done was run again"
rm seeds/seed-6/result.json # the first seed's is of another configuration than the second's would be: nothing is run
expect 2 'seed 5: seeds/seed-5: was made with another configuration: train.learning_rate: 0.001 there, 0.002 now' "${seeds[@]}" \
    --output-dir seeds --resume --set train.learning_rate=2e-3
expect 2 'seed 5: .*eval.scoring: "label" there, "likelihood" now' "${seeds[@]}" --output-dir seeds --resume --set eval.scoring=likelihood
[ ! -e seeds/seed-6/result.json ] || fail "a seed was run beside one of another configuration"
good "${seeds[@]}" --output-dir seeds --resume --set train.max_steps=9 # told to go on
grep -q '"steps": 9,' seeds/seed-5/result.json && grep -q '"steps": 9,' seeds/seed-6/result.json || fail "finished seeds did not go on"
# a run that goes on has no result until it ends again
{ LD_PRELOAD=$(realpath "$bin/../tests/preload_fault.so") ASAN_OPTIONS=verify_asan_link_order=0 FAULT=kill FAULT_AT=40 \
    "${seeds[@]}" --output-dir seeds --resume --set train.max_steps=100 >log 2>&1; } 2>/dev/null
[ $? -eq 137 ] && [ ! -e seeds/seed-5/result.json ] || fail "a run that was told to go on and was killed has a result"
good "$bin/gmoe-eval" --base-model "$golden/base" --data-dir data --task jsonl --adapter seeds/seed-6/checkpoints/step-8 --output eval.json # a checkpoint is an adapter

# --- no space: saves fail, older checkpoints stay; three in a row end the run
good "${train[@]}" --output-dir full --set train.max_steps=7
(
    failures=0
    ulimit -f 20 # blocks of 1024 bytes: smaller than an adapter
    expect 1 'adapter_model.safetensors' "${train[@]}" --output-dir full --resume
    exit $failures
) || fail "no space"
grep -q 'going on with the older ones (2 of 3 in a row)' "$work/stderr" || fail "failed saves are not announced"
[ "$(ls full/checkpoints)" = step-7 ] || fail "after failed saves there is: $(ls full/checkpoints)"
good "${train[@]}" --output-dir full --resume
cmp -s full/adapter/adapter_model.safetensors whole/adapter/adapter_model.safetensors || fail "another adapter after a full disk"
finish
