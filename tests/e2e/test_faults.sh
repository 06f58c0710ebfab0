#!/bin/bash
# The file system fails at one call after the other, or the program dies there: whatever is left, a resumed run ends with the
# bytes of an undisturbed one, and no checkpoint is half-written. FAULT_STRIDE=1 tries every call.
. tests/e2e/common.sh "$1"
golden=$PWD/tests/golden/llama-gmoe
preload=$(realpath "$bin/../tests/preload_fault.so")
mkdir "$work/data"
cp "$golden/train.jsonl" "$golden/test.jsonl" "$work/data"
cp "$golden/test.jsonl" "$work/data/validation.jsonl"
cd "$work" || exit 1
train=("$bin/gmoe-train" --config "$golden/config.json" --base-model "$golden/base" --data-dir data --init-adapter "$golden/init" --quiet
    --set train.max_steps=6 --set train.eval_every=2 --set train.save_every=2)
export ASAN_OPTIONS=verify_asan_link_order=0

good "${train[@]}" --output-dir whole
LD_PRELOAD=$preload FAULT_COUNT=$work/count "${train[@]}" --output-dir counted >log 2>&1 || fail "with the preloaded library: $(tail -1 log)"
calls=$(cat count)
[ "${calls:-0}" -gt 60 ] || fail "only ${calls:-0} calls are counted"
stride=${FAULT_STRIDE:-29}
echo "$calls calls, one in $stride"

newest() { ls "$1/checkpoints" | grep -v damaged | sort -t- -k2n | tail -1; }

# Whatever happened, the run goes on from a whole checkpoint to the same end. An error may cost a checkpoint and best/ (which is
# said); dying may cost nothing.
check_resumed() {
    "${train[@]}" --output-dir run --resume >log 2>&1 || { fail "$1: the resumed run: $(tail -1 log)"; return; }
    grep -Eq "damaged|falling back" log && fail "$1: a half-written checkpoint: $(grep -E 'damaged|falling back' log)"
    cmp -s run/adapter/adapter_model.safetensors whole/adapter/adapter_model.safetensors || fail "$1: another adapter"
    [ "$(newest run)" = step-6 ] && [ "$(ls run/checkpoints | wc -l)" -eq 2 ] || fail "$1: checkpoints: $(ls run/checkpoints | tr '\n' ' ')"
    find run | grep -q '\.tmp' && fail "$1: left over: $(find run | grep '\.tmp')"
    case $1 in
    kill* | short*)
        cmp -s run/best/adapter_model.safetensors whole/best/adapter_model.safetensors || fail "$1: another best/"
        cmp -s <(find run | sort) <(find whole | sed 's/^whole/run/' | sort) || fail "$1: other files: $(find run | tr '\n' ' ')"
        ;;
    esac
}

tried=0
# kill-exchange: where names cannot be exchanged, a directory is put in another's place in two calls
for fault in kill kill-exchange ENOSPC EIO short; do
    unset FAULT_NO_EXCHANGE
    [ $fault = kill-exchange ] && export FAULT_NO_EXCHANGE=1
    for ((at = 1 + RANDOM % stride; at <= calls; at += stride)); do
        rm -rf run
        { LD_PRELOAD=$preload FAULT=${fault%-*} FAULT_AT=$at "${train[@]}" --output-dir run >log 2>&1; } 2>/dev/null
        status=$?
        tried=$((tried + 1))
        case $fault in
        kill*) [ $status -eq 137 ] || fail "$fault at call $at: exit status $status" ;;
        short) [ $status -eq 0 ] || fail "a short write at call $at: $(tail -1 log)" ;;
        *) [ $status -eq 0 ] || { [ $status -eq 1 ] && tail -1 log | grep -q '^gmoe-train: '; } || fail "$fault at call $at: exit status $status: $(tail -1 log)" ;;
        esac
        check_resumed "$fault at call $at"
    done
done
echo "$tried faults"
finish
