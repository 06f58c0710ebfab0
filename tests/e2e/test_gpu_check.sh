#!/bin/bash
# scripts/gpu_check.sh on a machine without a GPU names what is missing and leaves nothing behind; gpu_pack.sh packs a folder
# that the build finds its libraries in.
. tests/e2e/common.sh "$1"
if command -v nvidia-smi >/dev/null; then echo "skipped: there is a GPU's driver here"; exit 77; fi
scripts/gpu_check.sh --out "$work/out" >"$work/said" 2>&1 && fail "it passed without a GPU"
grep -q 'this machine lacks: nvidia-smi' "$work/said" || fail "not named: $(cat "$work/said")"
expect 2 '^usage: scripts/gpu_check.sh' scripts/gpu_check.sh --fast
good scripts/gpu_pack.sh "$work/packed"
[ "$(du -sm "$work/packed" | cut -f1)" -le 60 ] || fail "more than 60 MB"
good cmake -S . -B "$work/build" -DGMOE_CUDA=OFF -DGMOE_DEPS="$work/packed"
grep -q "DNNL_LIBRARY:FILEPATH=$work/packed" "$work/build/CMakeCache.txt" || fail "oneDNN comes from elsewhere"
finish
