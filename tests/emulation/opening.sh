#!/bin/bash
# Opening a device with a module that is not this program's. Run with the programs that load the emulated backend.
# usage: opening.sh BIN-DIRECTORY
. tests/e2e/common.sh "$1"
golden=$PWD/tests/golden/llama-gmoe
mkdir -p "$work/own/bin" "$work/own/lib/gmoe"
cp "$bin/gmoe-train" "$work/own/bin"
module=$work/own/lib/gmoe/libgmoe_cuda.so
train=("$work/own/bin/gmoe-train" --config "$golden/config.json" --base-model "$golden/base" --data-dir "$golden"
    --output-dir "$work/run" --dry-run)

# --- a module that is not whole, of another build, or none
shipped=$bin/../lib/gmoe/libgmoe_cuda.so
length=$(stat -c %s "$shipped")
for n in 20000 $((length / 2)); do
    head -c "$n" "$shipped" >"$module"
    expect 1 "libgmoe_cuda.so: is cut off: $n of [0-9]+ bytes; build it again, or use --device cpu$" "${train[@]}" --device cuda
done
for n in 0 100; do
    head -c "$n" "$shipped" >"$module"
    expect 1 'does not load: .*libgmoe_cuda.so: .*; use --device cpu$' "${train[@]}" --device cuda
done
other='libgmoe_cuda.so: no module of this program; build it again, or use --device cpu$'
LC_ALL=C sed 's/ interface [0-9a-f]\{16\}/ interface 0123456789abcdef/' "$shipped" >"$module"
expect 1 "$other" "${train[@]}" --device cuda
LC_ALL=C sed 's/gm_cuda_interface/gm_cuda_otherface/' "$shipped" >"$module"
expect 1 "$other" "${train[@]}" --device cuda
cp "$shipped" "$module"
good "${train[@]}" --device cuda

finish
