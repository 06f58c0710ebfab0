#!/usr/bin/env bash
# An include that goes up the layers fails the build's check; the tree as it is passes.
set -euo pipefail
check() { cmake -DSOURCE_DIR="$1" -P cmake/CheckLayers.cmake >"$work/log" 2>&1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
check "$PWD/src"
mkdir -p "$work/src/base" "$work/src/train"
echo '#include "base/status.h"' >"$work/src/train/fine.c"
check "$work/src"
echo '#include "train/trainer.h"' >"$work/src/base/upward.c"
if check "$work/src"; then echo "an upward include passed"; exit 1; fi
grep -q 'src/base/upward.c includes "train/trainer.h"' "$work/log"
mkdir "$work/kernels"
echo '#include "model/model.h"' >"$work/kernels/upward.cu"
rm "$work/src/base/upward.c"
if check "$work/src"; then echo "an upward include of a kernel passed"; exit 1; fi
grep -q 'upward.cu includes from model/' "$work/log"
# every function of a header has a caller: its name stands in more places than its declaration and its definition (tables
# name the CUDA kernels by a macro)
grep -rhE '^[a-z]' src --include=*.h | grep -v '^static' | grep -oE '\bgm_[a-z0-9_]+\(' | tr -d '(' | sort -u >"$work/declared"
find src kernels tests \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' \) -exec cat {} + | sed 's/X(/gm_cuda_/g' | grep -oE '\bgm_[a-z0-9_]+\b' | sort | uniq -c |
    awk '$1 < 3 { print $2 }' | sort >"$work/rare"
comm -12 "$work/declared" "$work/rare" >"$work/unused"
if [ -s "$work/unused" ]; then echo "without a caller: $(tr '\n' ' ' <"$work/unused")"; exit 1; fi
# a typed pointer's address is no void pointer's: GM_GROW is for that
if grep -rnF '(void **)&' src; then echo "a pointer is written through another type"; exit 1; fi
echo "layers: ok"
