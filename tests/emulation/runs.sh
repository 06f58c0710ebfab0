#!/bin/bash
# Whole runs on a device: the same bits twice, after a resume and with activation checkpointing; a device without enough memory, and
# one that fails in the middle. Run with the programs that load the emulated backend, or on a GPU (bit-equality only).
# usage: runs.sh BIN-DIRECTORY
. tests/e2e/common.sh "$1"
golden=$PWD/tests/golden/llama-gmoe
cd "$work" || exit 1
train=("$bin/gmoe-train" --config "$golden/config.json" --base-model "$golden/base" --data-dir "$golden" --init-adapter "$golden/init"
    --device cuda --set train.max_steps=4 --set train.save_every=2 --set train.eval_every=0)
same() { cmp "$1/adapter/adapter_model.safetensors" "$2/adapter/adapter_model.safetensors" || fail "$3"; }

# --- the same bits
good "${train[@]}" --output-dir one
good "${train[@]}" --output-dir two
same one two "two runs differ"
cp -r two resumed
rm -r resumed/checkpoints/step-4 resumed/result.json
good "${train[@]}" --output-dir resumed --resume
same one resumed "a resumed run differs"
good "${train[@]}" --output-dir again --set train.activation_checkpointing=true
same one again "activation checkpointing changes bits"
[ -n "${GMOE_TEST_DEVICE-}" ] && finish

# --- a device that is too small: found before the first step, with what is needed, what is there and what lowers it
least= needs='out of device memory: [a-z].* needs [0-9.]+ MB, [0-9.]+ of cuda:0.s [0-9.]+ MB are free'
for kb in 1 1000 33600 33640 33660 33700 33800 33900 34000 34100 34200 34400 34600 34800 35000 36000 38000 40000; do
    GMOE_EMULATION_KB=$kb "${train[@]}" --output-dir "kb$kb" >/dev/null 2>last && { least=$kb; break; }
    status=$?
    [ $status = 4 ] || fail "exit status $status with $kb KB: $(tail -1 last)"
    tail -1 last | grep -Eq "$needs" || fail "$kb KB: $(tail -1 last)"
    tail -1 last >>errors
    [ -e "kb$kb" ] && fail "a run that had no memory leaves kb$kb"
done
[ -n "$least" ] || fail "no memory is enough: $(tail -1 last)"
grep -Eq "the base model: $needs; dtype bf16 needs half$" errors || fail "no message for the base model: $(cat errors)"
grep -Eq "the adapter: $needs.*; a lower adapter.rank, adapter.num_experts or adapter.router.hidden_size needs less" errors ||
    fail "no message for the adapter: $(cat errors)"
step='a step \([0-9.]+ MB of activations, [0-9.]+ MB of scratch\) needs' beside="beside the base model's and the adapter's [0-9.]+ MB"
grep -Eq "$needs $beside; a lower train.micro_batch_tokens, eval.batch_tokens or train.max_length needs less, or train.activation_checkpointing" errors ||
    fail "no message for activations: $(cat errors)"
[ "$(grep -c "a lower train.micro_batch_tokens" errors)" = "$(grep -Ec "$step .* $beside" errors)" ] ||
    fail "a part of a step that does not fit is told alone: $(cat errors)"
same one "kb$least" "a smaller device changes bits"

# --- gmoe-eval and gmoe-bench on a device that is too small: the same, and their own options
score=("$bin/gmoe-eval" --base-model "$golden/base" --adapter one/adapter --task jsonl --data-dir "$golden" --device cuda)
bench=("$bin/gmoe-bench" --shape tiny --tokens 16 --sequence 8 --steps 1 --warmup 0 --dtype f32 --device cuda)
with_kb() { # KB COMMAND…
    local kb=$1
    shift
    GMOE_EMULATION_KB=$kb "$@"
}
expect 4 "gmoe-eval: .*the base model needs .* MB are free; dtype bf16 needs half$" with_kb 33600 "${score[@]}"
expect 4 "gmoe-eval: .*the adapter needs .* MB are free; --dtype bf16 leaves more" with_kb 33660 "${score[@]}"
expect 4 "gmoe-eval: $needs $beside; a lower --batch-tokens or --max-length needs less$" with_kb 33700 "${score[@]}"
expect 4 "gmoe-bench: .*the base model needs .* MB are free; dtype bf16 needs half$" with_kb 33900 "${bench[@]}"
expect 4 "gmoe-bench: .*the base model needs .* MB are free; a smaller base model needs less$" once with_kb 33900 "${bench[@]}" --dtype bf16
expect 4 "gmoe-bench: .*both moments are [0-9.]+ MB; a smaller --shape needs less$" with_kb 35000 "${bench[@]}"
expect 4 "gmoe-bench: $needs $beside; a lower --tokens or --sequence, or a smaller --shape, needs less$" with_kb 36000 "${bench[@]}"

expect 4 "$needs" with_kb 33700 "${train[@]}" --output-dir dry --dry-run
[ ! -e dry ] || fail "a dry run leaves a directory"

# --- a benchmark whose plan just fits: what it measures beside the steps takes no more; cuBLASLt's workspace and partial sums are the backend's
planned() { sed -n 's/.*"device_memory_bytes":\([0-9]*\).*/\1/p' "$work/stdout"; }
good with_kb 1000000 "${bench[@]}"
bytes=$(planned)
good with_kb $(((bytes + (32 << 20) + 8192 + 999) / 1000)) "${bench[@]}"
[ "$(planned)" = "$bytes" ] || fail "a benchmark takes $bytes bytes or $(planned), as much as is there"
expect 4 "gmoe-bench: $needs" with_kb $(((bytes + (32 << 20) + 8192) / 1000 - 1)) "${bench[@]}"

# --- a kernel that fails: where it is noticed is told with its step; the last checkpoint stays good
late=': an illegal memory access was encountered (noticed there; the fault is in it or before it: CUDA_LAUNCH_BLOCKING=1 names the kernel)$'
for n in 400 1000 2000 4000; do
    rm -rf faulty
    GMOE_EMULATION_FAULT=$n "${train[@]}" --output-dir faulty >/dev/null 2>errors
    status=$?
    [ $status = 0 ] && break
    [ $status = 1 ] || fail "exit status $status where launch $n fails: $(tail -1 errors)"
    tail -1 errors | grep -q "CUDA: .*$late" || fail "launch $n fails: $(tail -1 errors)"
    [ -d faulty/checkpoints/step-2 ] || continue
    tail -1 errors | grep -Eq 'step [34]: CUDA: [a-z]' || fail "the step is not named: $(tail -1 errors)"
    good "${train[@]}" --output-dir faulty --resume
    same one faulty "a run resumed after a fault differs"
    resumed=yes
done
[ -n "${resumed-}" ] || fail "no fault came after a checkpoint"
CUDA_LAUNCH_BLOCKING=1 GMOE_EMULATION_FAULT=400 expect 1 'step [1-4]: CUDA: .+: an illegal memory access was encountered$' \
    "${train[@]}" --output-dir blocking
tail -1 stderr | grep -Eq 'CUDA: (reading|waiting)' && fail "the kernel is not named: $(tail -1 stderr)"

# --- one that fails after a step, in the update or where its values are looked at: no checkpoint is tried, nor gone on without
low=1 high=400
while [ $((high - low)) -gt 1 ]; do
    n=$(((low + high) / 2))
    GMOE_EMULATION_FAULT=$n expect 1 ': step [1-4]: CUDA: ' "${train[@]}" --set train.save_every=1 --output-dir "update$n"
    grep 'no checkpoint' stderr && fail "launch $n fails, and the run goes on"
    if grep -q ': step 1: CUDA: ' stderr; then low=$n; else high=$n; fi
done
[ $low -gt 1 ] && [ $high -lt 400 ] || fail "the first step ends at launch $low"
GMOE_EMULATION_FAULT=$high expect 1 ': step 2: CUDA: ' "${train[@]}" --set train.save_every=1 --output-dir next
[ -d next/checkpoints/step-1 ] || fail "no checkpoint after the first step"

# --- one that fails in an evaluation
mkdir data
cp "$golden/train.jsonl" "$golden/test.jsonl" data
cp "$golden/test.jsonl" data/validation.jsonl
for n in {100..900..50}; do
    GMOE_EMULATION_FAULT=$n expect 1 '(: step|: evaluation after step) [1-4]: CUDA: ' once "${train[@]}" \
        --data-dir data --set train.eval_every=1 --set eval.scoring=likelihood --output-dir "fault$n"
    grep -q ': evaluation after step [1-4]: CUDA: ' stderr && { evaluated=yes; break; }
done
[ -n "${evaluated-}" ] || fail "no fault came in an evaluation"

# --- heads that the device's attention does not take: told before weights are read, and no matter of the CPU
cp -r "$golden/base" wide
sed -i 's/"head_dim": *[0-9]*/"head_dim": 514/' wide/config.json
grep -q '"head_dim": 514' wide/config.json || fail "the base model's config.json has no head_dim"
wide=("${train[@]}" --base-model "$PWD/wide" --output-dir wide-run)
expect 1 'wide/config.json: heads of size 514 are too large for cuda, whose attention takes up to 512; use --device cpu$' once "${wide[@]}"
expect 1 'wide/config.json: heads of size 514 are too large for cuda' once "${wide[@]}" --dry-run
expect 3 'wide/.*self_attn' once "${wide[@]}" --device cpu
sed -i 's/"head_dim": 514/"head_dim": 512/' wide/config.json
expect 3 'wide/.*self_attn' once "${wide[@]}"
finish
