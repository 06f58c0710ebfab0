#!/bin/bash
# An allocation fails, one after the other, alone or with all that come after it: the program says so and ends with 4, and what
# it has published by then is whole. MEMORY_RUNS=N tries N of them a kind; the sample moves from run to run.
. tests/e2e/common.sh "$1"
golden=$PWD/tests/golden/llama-gmoe
preload=$(realpath "$bin/../tests/preload_memory.so")
nm -D "$bin/gmoe-train" 2>/dev/null | grep -q __asan && { echo "skipped: the sanitizers have their own malloc"; exit 77; }
mkdir "$work/data"
cp "$golden/train.jsonl" "$golden/test.jsonl" "$work/data"
cp "$golden/test.jsonl" "$work/data/validation.jsonl"
cd "$work" || exit 1
train=("$bin/gmoe-train" --config "$golden/config.json" --base-model "$golden/base" --data-dir data --init-adapter "$golden/init" --quiet
    --set train.max_steps=2 --set train.eval_every=1 --set train.save_every=1)

# --- every allocation of a tokenizer's, whose parts could be lost in silence: the ids are right or there are none
head -20 "$golden/../tokenizer/texts.jsonl" >texts.jsonl
tokenize=("$bin/gmoe-tokenize" --tokenizer "$golden/base")
"${tokenize[@]}" <texts.jsonl >ids.jsonl || fail "gmoe-tokenize"
LD_PRELOAD=$preload MEMORY_COUNT=$work/count "${tokenize[@]}" <texts.jsonl >/dev/null
for ((at = 1; at <= $(cat count); at++)); do
    LD_PRELOAD=$preload MEMORY_FAIL_AT=$at "${tokenize[@]}" <texts.jsonl >other.jsonl 2>log
    status=$?
    [ $status -eq 4 ] || { [ $status -eq 0 ] && cmp -s ids.jsonl other.jsonl; } ||
        fail "gmoe-tokenize, allocation $at: exit status $status: $(tail -1 log)"
done

# --- runs
good "${train[@]}" --output-dir whole
LD_PRELOAD=$preload MEMORY_COUNT=$work/count "${train[@]}" --output-dir counted >log 2>&1 ||
    fail "with the preloaded library: $(tail -1 log)"
calls=$(cat count)
[ "${calls:-0}" -gt 200 ] || fail "only ${calls:-0} allocations are counted"

good "${train[@]}" --output-dir begun --set train.max_steps=1

# ends STATUS WHAT: what is left after a program that got no memory
ends() {
    local status=$1
    case $status in
    4) tail -1 log | grep -q '^gmoe-train: .*memory' || fail "$2: $(tail -1 log)" ;;
    0) [ -s run/result.json ] && cmp -s run/adapter/adapter_model.safetensors whole/adapter/adapter_model.safetensors ||
        fail "$2: the run ends as if nothing had been" ;; # what is for people to look at may be lost: a line of the log
    *) fail "$2: exit status $status: $(tail -1 log)" ;;
    esac
    for adapter in adapter best; do
        [ ! -e run/$adapter ] || cmp -s run/$adapter/adapter_model.safetensors whole/$adapter/adapter_model.safetensors ||
            cmp -s run/$adapter/adapter_model.safetensors begun/$adapter/adapter_model.safetensors || fail "$2: a half-written $adapter/"
    done
    find run 2>/dev/null | grep -q '\.tmp' && fail "$2: left over: $(find run | grep '\.tmp')"
}

# --- the whole process may have so much: libraries get none either, and not all of them look
refused=0 done=0
for ((limit = 60000; limit <= 400000 && done < 4; limit += 4000)); do # KiB
    rm -rf run
    { (ulimit -v $limit && exec "${train[@]}" --output-dir run >log 2>&1); } 2>/dev/null
    status=$?
    grep -q 'error while loading shared libraries' log && continue
    ends $status "within $limit KiB"
    [ $status -eq 0 ] && done=$((done + 1)) || refused=$((refused + 1))
done
echo "within an address space: refused $refused times, done $done times"
[ $refused -gt 0 ] && [ $done -gt 0 ] || fail "no address space that is too small, or none that is not"

tried=0
# failing KIND CALLS OPTION…: a run for each of the sample, from its beginning or from begun/
failing() {
    local kind=$1 calls=$2 at stride
    shift 2
    stride=$((calls / ${MEMORY_RUNS:-40} + 1))
    echo "$kind: $calls allocations, one in $stride"
    for ((at = 1 + RANDOM % stride; at <= calls; at += stride)); do
        rm -rf run
        [ "$kind" = resumed ] && cp -r begun run
        { LD_PRELOAD=$preload MEMORY_FAIL_AT=$at "${train[@]}" --output-dir run "$@" >log 2>&1; } 2>/dev/null
        ends $? "$kind, allocation $at"
        tried=$((tried + 1))
    done
}

failing one "$calls"
MEMORY_FAIL_ON=1 failing "one and all that follow" "$calls"
cp -r begun run
LD_PRELOAD=$preload MEMORY_COUNT=$work/count "${train[@]}" --output-dir run --resume >log 2>&1 ||
    fail "resumed with the preloaded library: $(tail -1 log)"
failing resumed "$(cat count)" --resume
good "${train[@]}" --output-dir run --resume # whatever was left of the last one
cmp -s run/adapter/adapter_model.safetensors whole/adapter/adapter_model.safetensors || fail "a run that got no memory does not go on"
echo "$tried failures"
finish
