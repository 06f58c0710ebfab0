#!/usr/bin/env bash
# Everything that only a GPU can tell, in one command of at most 9 minutes: builds, compares every kernel with double-precision loops,
# runs the goldens in f32 and bf16, wants the same bits from two runs and from an interrupted one, looks for wrong accesses with
# compute-sanitizer, then measures, alone. What is not there or finds no time is said, skipped and counted as not done; what fails is
# said, and the exit status is 1, as it is where nothing could be measured.
# CUDA_VISIBLE_DEVICES chooses among several GPUs, counted as nvidia-smi does.
#   scripts/gpu_check.sh [--deps DIR] [--out DIR] [--quick]
# --deps: a folder that scripts/gpu_pack.sh filled (default: .gpu where there is one); --out: where summary.md, the JSON lines and the
# logs go (default: runs/gpu-check); --quick: no measurements.
set -uo pipefail
cd "$(dirname "$0")/.."
deps= out=runs/gpu-check quick=
while [ $# -gt 0 ]; do
    case "$1" in
    --deps) deps=${2:?--deps: DIR is missing}; shift ;;
    --out) out=${2:?--out: DIR is missing}; shift ;;
    --quick) quick=1 ;;
    *) echo "usage: scripts/gpu_check.sh [--deps DIR] [--out DIR] [--quick]" >&2; exit 2 ;;
    esac
    shift
done
[ -n "$deps" ] || { [ -d .gpu ] && deps=.gpu; }
begin=$SECONDS
mkdir -p "$out"
out=$(realpath "$out")
summary=$out/summary.md
say() { echo "$*" | tee -a "$summary"; }
left() { echo $((530 - SECONDS + begin)); }

# finish: the last line, and the end
finish() {
    local failed undone said
    failed=$(grep -c FAILED "$summary")
    undone=$(grep -c 'NOT DONE' "$summary")
    said="all passed"
    [ "$undone" = 0 ] || said="what was done passed, $undone NOT DONE"
    [ "$failed" = 0 ] || said="$failed FAILED, $undone NOT DONE"
    say ""
    say "whole check: $((SECONDS - begin)) s; $said"
    exit $((failed > 0))
}

# why LOG: the first error of CMake or a compiler, or else the last line
why() {
    local text
    text=$(sed -n '/^CMake Error/,$p' "$1")
    [ -n "$text" ] || text=$(grep -m1 -E '^[^ ]+: (fatal )?error( #[^:]*)?:|^(nvcc|ptxas) fatal|undefined reference' "$1")
    [ -n "$text" ] || text=$(grep -vE '^\[' "$1" | tail -1)
    tr -s '\n ' '  ' <<<"$text" | cut -c1-300
}

# check NAME SECONDS COMMAND…: runs it within that time, and within what is left of the whole
check() {
    local name=$1 most=$2 start=$SECONDS log
    shift 2
    log=$out/$(tr ' /' '--' <<<"$name").log
    [ "$(left)" -gt 5 ] || { say "| $name | FAILED: not run, out of time | |"; return 1; }
    [ "$most" -lt "$(left)" ] || most=$(left)
    timeout "$most" "$@" >"$log" 2>&1
    local status=$?
    case $status in
    0) say "| $name | passed | $((SECONDS - start)) s |" ;;
    77) say "| $name | NOT DONE: $(tail -1 "$log") | |" ;;
    124) say "| $name | FAILED: no end after $most s | |" ;;
    *) say "| $name | FAILED ($status): $(why "$log") | $((SECONDS - start)) s |" ;;
    esac
    return $status
}

lacks=()
export PATH=$PATH:/usr/local/cuda/bin
export CUDA_DEVICE_ORDER=PCI_BUS_ID
gpu=${CUDA_VISIBLE_DEVICES:-0}
gpu() { nvidia-smi -i "${gpu%%,*}" "--query-gpu=$1" --format=csv,noheader; }
for tool in nvidia-smi nvcc cmake make gcc g++ python3; do command -v "$tool" >/dev/null || lacks+=("$tool"); done
if command -v nvidia-smi >/dev/null; then
    said=$(gpu compute_cap 2>&1)
    capability=$(grep -m1 -xE '[0-9]+\.[0-9]+' <<<"$said")
    if [ -z "$capability" ]; then
        lacks+=("a GPU that tells its compute capability: nvidia-smi says: $(tr -s '\n' ' ' <<<"$said")")
    elif [ "${capability%.*}" -lt 8 ]; then
        lacks+=("a GPU of compute capability 8.0 or newer: $(gpu name) has $capability")
    fi
fi
if [ -z "$deps" ] && ! pkg-config --exists libcjson libpcre2-8 libutf8proc cmocka 2>/dev/null; then
    lacks+=("the libraries (fill .gpu with scripts/gpu_pack.sh on a machine with a network, or run scripts/deps.sh)")
fi
[ -z "$deps" ] || [ -d "$deps/lib" ] || lacks+=("the libraries in $deps: scripts/gpu_pack.sh fills it on a machine with a network")
if [ ${#lacks[@]} -gt 0 ]; then
    printf 'gpu_check.sh: this machine lacks: %s\n' "${lacks[@]}" >&2
    exit 1
fi

[ -z "$deps" ] || export LD_LIBRARY_PATH=$(realpath "$deps")/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} # what the libraries need in turn
: >"$summary"
say "# GPU check"
say ""
say "$(date -u +%F), commit $(git describe --always --dirty=", changed" --exclude "*" 2>/dev/null || echo unknown), $(gpu name,driver_version,memory.total), $(nvcc --version | grep -o 'release [0-9.]*')"
say ""
say "| check | result | time |"
say "| --- | --- | --- |"
capability=${capability/./}
[ "$capability" = 90 ] && capability=90a
build=build/gpu
configure=(cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DGMOE_CUDA=ON "-DGMOE_CUDA_ARCHITECTURES=$capability-real")
configure+=("-DGMOE_DEPS=${deps:+$(realpath "$deps")}")
check configure 60 "${configure[@]}" || finish
kernels=($(grep -l '"op_test.h"' tests/ops/test_*.c | sed 's/.*test_\(.*\)\.c/\1/'))
[ ${#kernels[@]} -gt 0 ] || { say "| kernels | FAILED: no tests of them in tests/ops | |"; finish; }
check build 300 cmake --build "$build" -j "$(nproc)" --target gmoe_cuda gmoe-train gmoe-eval gmoe-bench compare_golden \
    "${kernels[@]/#/ops_test_}" || finish
bin=$PWD/$build/bin
export OMP_WAIT_POLICY=passive

# --- right? Three rows side by side: starting programs and the loops on the host take most of the time.
check_kernels() {
    for name in "${kernels[@]}"; do check "kernel $name" 60 env GMOE_TEST_DEVICE=cuda "$build/tests/ops_test_$name"; done
}
train() { "$bin/gmoe-train" --config configs/demo-questions.json --device cuda --quiet --set train.eval_every=0 --set train.max_steps=30 --overwrite "$@"; }
same_bits() {
    local dtype
    for dtype in f32 bf16; do
        train --set dtype=$dtype --output-dir "$out/a" && train --set dtype=$dtype --output-dir "$out/b" || return 1
        cmp "$out/a/adapter/adapter_model.safetensors" "$out/b/adapter/adapter_model.safetensors" || { echo "$dtype: two runs differ"; return 1; }
        train --set dtype=$dtype --output-dir "$out/b" --set train.max_steps=11 --set train.save_every=11 || return 1
        "$bin/gmoe-train" --config configs/demo-questions.json --device cuda --quiet --set train.eval_every=0 --set train.max_steps=30 \
            --set train.save_every=11 --set dtype=$dtype --output-dir "$out/b" --set train.activation_checkpointing=true --resume || return 1
        cmp "$out/a/adapter/adapter_model.safetensors" "$out/b/adapter/adapter_model.safetensors" || { echo "$dtype: a resumed run differs"; return 1; }
    done
}
export -f train same_bits
check_runs() {
    check goldens 120 env GMOE_TEST_DEVICE=cuda bash tests/golden/test_golden.sh "$bin"
    check "same bits" 90 env bin="$bin" out="$out" bash -c same_bits
}
check_accesses() {
    command -v compute-sanitizer >/dev/null || { say "| compute-sanitizer | NOT DONE: not installed | |"; return; }
    for name in rmsnorm route losses lora expert_ffn router_graph attention; do
        check "memcheck $name" 60 env GMOE_TEST_DEVICE=cuda compute-sanitizer --error-exitcode 9 --tool memcheck "$build/tests/ops_test_$name"
    done
}
check_kernels & check_runs & check_accesses &
wait

# --- fast?
if [ -z "$quick" ]; then
    say ""
    table=scripts/bench/gpu_table.py
    say "$(python3 $table head)"
    bench() { # SHAPE METHOD DTYPE
        [ "$(left)" -gt 20 ] || { say "| $1 | $2 | $3 | NOT DONE: out of time | | | | | | | |"; return; }
        local line status
        line=$(timeout "$(left)" "$bin/gmoe-bench" --shape "$1" --method "$2" --dtype "$3" --device cuda --steps 8 2>"$out/bench.log")
        status=$?
        case $status in
        0) ;;
        4) say "| $1 | $2 | $3 | does not fit: $(tail -1 "$out/bench.log") | | | | | | | |"; return ;;
        124) say "| $1 | $2 | $3 | NOT DONE: no end, out of time | | | | | | | |"; return ;;
        *) say "| $1 | $2 | $3 | FAILED ($status): $(tail -1 "$out/bench.log" | cut -c1-200) | | | | | | | |"; return ;;
        esac
        echo "$line" >>"$out/bench.jsonl"
        python3 $table row "$line" 2>"$out/bench.log" | tee -a "$summary" ||
            say "| $1 | $2 | $3 | FAILED, gmoe-bench's line: $(tail -1 "$out/bench.log") | | | | | | | |"
    }
    : >"$out/bench.jsonl"
    for shape in qwen2-7b llama3-8b yi-1.5-9b tiny; do
        for method in gmoe lora; do bench $shape $method bf16; done
    done
    say ""
    if [ -s "$out/bench.jsonl" ]; then say "$(python3 $table targets "$out/bench.jsonl")"; else say "FAILED: nothing was measured."; fi
    say ""
    if ! grep -q '"qwen2-7b","method":"gmoe"' "$out/bench.jsonl"; then
        say "NOT DONE: the comparison with PyTorch: qwen2-7b was not measured."
    elif [ "$(left)" -le 30 ]; then
        say "NOT DONE: the comparison with PyTorch: out of time."
    elif ! timeout "$(($(left) - 5))" python3 -c 'import torch, transformers; assert torch.cuda.is_available()' 2>/dev/null; then
        say "NOT DONE: the comparison with PyTorch, which is not installed here or sees no GPU."
    else
        timeout "$(left)" python3 scripts/bench/compare_gpu.py --bench "$bin/gmoe-bench" --ours "$out/bench.jsonl" --seconds "$(($(left) - 10))" \
            --json "$out/compare.json" 2>"$out/compare.log" | tee -a "$summary"
        case ${PIPESTATUS[0]} in
        0) ;;
        124) say "NOT DONE: the comparison with PyTorch: no end, out of time." ;;
        *) say "FAILED: the comparison with PyTorch: $(tail -1 "$out/compare.log" | cut -c1-200)" ;;
        esac
    fi
fi
finish
