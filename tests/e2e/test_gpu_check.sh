#!/bin/bash
# scripts/gpu_check.sh on machines that lack something, and with stand-ins for all that it runs: what is missing, what fails and what
# was not done is told, in the last line too. gpu_pack.sh packs a folder that the build finds its libraries in.
. tests/e2e/common.sh "$1"

# A source tree of stand-ins: LEFT seconds are left at any time; what cmake "builds" is in $work/built.
unset LEFT SMI SMI_STATUS CONFIGURE BUILD KERNEL BENCH BENCH_STATUS CUDA_VISIBLE_DEVICES
tree=$work/tree fake=$work/fake few=$work/few
mkdir -p "$work/lib" "$tree/scripts/bench" "$tree/tests/ops" "$tree/tests/golden" "$fake" "$few" "$work/built/bin" "$work/built/tests"
sed 's/^left() .*/left() { echo "${LEFT:-500}"; }/' scripts/gpu_check.sh >"$tree/scripts/gpu_check.sh"
chmod +x "$tree/scripts/gpu_check.sh"
grep -q LEFT "$tree/scripts/gpu_check.sh" || fail "gpu_check.sh has no left()"
cp scripts/bench/compare_gpu.py scripts/bench/gpu_table.py scripts/bench/shapes.py "$tree/scripts/bench"
echo '#include "op_test.h"' >"$tree/tests/ops/test_one.c"
echo 'exit 0' >"$tree/tests/golden/test_golden.sh"
program() { # PATH: from standard input
    { echo '#!/bin/sh'; cat; } >"$1"
    chmod +x "$1"
}
program "$fake/nvidia-smi" <<<'case "$*" in
*=compute_cap*) echo "${SMI:-9.0}"; exit "${SMI_STATUS:-0}" ;;
*) echo "Some GPU" ;;
esac'
program "$fake/cmake" <<<'case "$1" in
--build) [ -z "${BUILD:-}" ] || { echo "$BUILD"; exit 2; } ;;
*) [ -z "${CONFIGURE:-}" ] || { echo "$CONFIGURE"; exit 1; }; mkdir -p build/gpu && cp -r "$BUILT/." build/gpu ;;
esac'
program "$fake/nvcc" <<<'echo "release 13.0"'
for name in gcc g++ make pkg-config; do program "$fake/$name" <<<''; done
program "$fake/compute-sanitizer" <<<'exit 0'
program "$work/built/tests/ops_test_one" <<<'[ "${KERNEL:-0}" = 0 ] || { echo "[  FAILED  ] one"; echo "why it is so"; exit "$KERNEL"; }'
program "$work/built/bin/gmoe-train" <<<'while [ $# -gt 0 ]; do
    [ "$1" != --output-dir ] || { mkdir -p "$2/adapter"; echo same >"$2/adapter/adapter_model.safetensors"; }
    shift
done'
program "$work/built/bin/gmoe-bench" <<<'[ -z "${BENCH:-}" ] || { echo "$BENCH" | tee /dev/stderr; exit "$BENCH_STATUS"; }
printf "{\"shape\":\"%s\",\"method\":\"%s\",\"dtype\":\"bf16\",\"device\":\"cuda\",\"tokens_per_s\":8,\"forward_tokens_per_s\":8,\"flops_per_token\":225000000,\"ms_per_step\":1,\"floor_share\":1,\"tokens\":8,\"device_memory_bytes\":1,\"gemm_gflops\":1,\"gemm_share\":1,\"parts_ms\":{\"projections\":1,\"attention\":1,\"router\":1,\"feed_forward\":1,\"head\":1,\"optimizer\":1,\"other\":1}}\n" "$2" "$4"'
export BUILT=$work/built

# checked STATUS LAST-LINE [OPTION…]: runs it with the stand-ins
checked() {
    local want=$1 last=$2
    shift 2
    rm -rf "$tree/build"
    PATH=$fake:$PATH "$tree/scripts/gpu_check.sh" --deps "$work" --out "$work/out" "$@" >"$work/said" 2>&1
    local status=$?
    [ $status -eq "$want" ] || fail "exit status $status, not $want: $(cat "$work/said")"
    tail -1 "$work/said" | grep -Eq -- "$last" || fail "the last line is not $last: $(cat "$work/said")"
}
says() { grep -qF -- "$1" "$work/said" || fail "not said: $1: $(cat "$work/said")"; }

# --- what a machine lacks
for name in bash dirname realpath mkdir grep tr; do ln -s "$(command -v $name)" "$few/$name"; done
PATH=$few "$tree/scripts/gpu_check.sh" --out "$work/out" >"$work/said" 2>&1 && fail "it passed with nothing there"
for name in nvidia-smi cmake make gcc g++ python3 "the libraries"; do says "this machine lacks: $name"; done
[ -e "$work/out/summary.md" ] && fail "a summary of nothing"
expect 2 '^usage: scripts/gpu_check.sh' scripts/gpu_check.sh --fast
if ! command -v python3 >/dev/null; then
    program "$fake/python3" <<<'exit 1'
fi
SMI="NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver." SMI_STATUS=9 checked 1 'lacks: a GPU .*NVIDIA-SMI has failed because'
SMI="No devices were found" SMI_STATUS=6 checked 1 'lacks: a GPU .*No devices were found'
SMI=7.5 checked 1 'lacks: a GPU of compute capability 8.0 or newer: Some GPU has 7.5'

# --- what fails, and what is not done
checked 0 '^whole check: [0-9]+ s; all passed$' --quick
says "| kernel one | passed"
CONFIGURE=$'-- Found it\nCMake Error at cmake/Cuda.cmake:52 (message):\n  GMOE_CUDA=ON: nvcc is\n  not found\n\n\n-- Configuring incomplete, errors occurred!\nSee also "CMakeError.log".' \
    checked 1 '^whole check: [0-9]+ s; 1 FAILED' --quick
says "| configure | FAILED (1): CMake Error at cmake/Cuda.cmake:52 (message): GMOE_CUDA=ON: nvcc is not found"
BUILD=$'[ 5%] Building\nrope.cu(12): warning: odd\nrope.cu(15): error: identifier "x" is undefined\nmake[1]: *** [rope.o] Error 2\nmake: *** [all] Error 2' \
    checked 1 '^whole check: [0-9]+ s; 1 FAILED' --quick
says '| build | FAILED (2): rope.cu(15): error: identifier "x" is undefined'
KERNEL=1 checked 1 '^whole check: [0-9]+ s; 1 FAILED' --quick
says "| kernel one | FAILED (1): why it is so"
KERNEL=77 checked 0 '^whole check: [0-9]+ s; what was done passed, 1 NOT DONE$' --quick
says "| kernel one | NOT DONE: why it is so"
mv "$tree/tests/ops/test_one.c" "$work"
checked 1 '^whole check: [0-9]+ s; 1 FAILED' --quick
mv "$work/test_one.c" "$tree/tests/ops"

# --- measurements, if there is a Python; PyTorch is a stand-in
if command -v python3 >/dev/null; then
    export PYTHONPATH=$work/python
    mkdir "$work/python"
    echo 'raise ImportError' >"$work/python/torch.py"
    checked 0 '^whole check: [0-9]+ s; what was done passed, 1 NOT DONE$'
    says "NOT DONE: the comparison with PyTorch"
    says "| llama3-8b | lora | bf16 | 8 | 1.0 | 100.0% | 90.0% | 0 | 100.0% | 0.0 |"
    says "| qwen2-7b, gmoe: forward, share of its floor | 90.0% | ≥ 90 % |"
    says "| qwen2-7b: a gmoe step against a lora step | 1.00× | ≤ 1.10× |"
    LEFT=15 checked 1 '^whole check: [0-9]+ s; 1 FAILED, 9 NOT DONE$'
    says "FAILED: nothing was measured"
    says "| tiny | lora | bf16 | NOT DONE: out of time |"
    BENCH="gmoe-bench: no memory" BENCH_STATUS=4 checked 1 '^whole check: [0-9]+ s; 1 FAILED, 1 NOT DONE$'
    says "| tiny | lora | bf16 | does not fit: gmoe-bench: no memory |"
    BENCH='{"shape":"x"}' BENCH_STATUS=0 checked 1 '^whole check: [0-9]+ s; 8 FAILED, 1 NOT DONE$'
    LEFT=25 checked 0 '^whole check: [0-9]+ s; what was done passed, 1 NOT DONE$'
    says "NOT DONE: the comparison with PyTorch: out of time"
    cat >"$work/python/torch.py" <<'PYTHON'
class cuda:
    is_available = staticmethod(lambda: True)
PYTHON
    echo >"$work/python/transformers.py"
    cat >"$tree/scripts/bench/rivals.py" <<'PYTHON'
import sys
if sys.argv[1] == "peft": sys.exit("ModuleNotFoundError: No module named 'peft'")
if sys.argv[1] == "gmoe": sys.exit("torch.OutOfMemoryError")
print('{}\n{"seconds": [1], "peak_device": 1e9}')
PYTHON
    checked 0 '^whole check: [0-9]+ s; what was done passed, 1 NOT DONE$'
    says "| PyTorch peft | NOT DONE: ModuleNotFoundError: No module named 'peft' |"
    says "| PyTorch gmoe-naive | 8192 | 8192 | 1.0 | 0.00× |"
    says "| PyTorch gmoe | out of memory |"
    python3 "$tree/scripts/bench/compare_gpu.py" --ours "$work/out/bench.jsonl" --seconds 5 >"$work/said"
    says "| PyTorch gmoe-naive | NOT DONE: out of time |"
    echo 'sys.exit("the comparison ends")' >>"$tree/scripts/bench/shapes.py"
    sed -i '1i import sys' "$tree/scripts/bench/shapes.py"
    checked 1 '^whole check: [0-9]+ s; 1 FAILED, 0 NOT DONE$'
    says "FAILED: the comparison with PyTorch: the comparison ends"
fi

# --- the libraries, packed
mkdir "$work/foreign"
echo mine >"$work/foreign/file"
expect 2 'is not empty, and not filled by this script' scripts/gpu_pack.sh "$work/foreign"
[ -e "$work/foreign/file" ] || fail "a folder that is not its own is emptied"
good scripts/gpu_pack.sh "$work/packed"
[ "$(du -sm "$work/packed" | cut -f1)" -le 60 ] || fail "more than 60 MB"
good cmake -S . -B "$work/build" -DGMOE_CUDA=OFF -DGMOE_DEPS="$work/packed"
grep -q "DNNL_LIBRARY:FILEPATH=$work/packed" "$work/build/CMakeCache.txt" || fail "oneDNN comes from elsewhere"
finish
