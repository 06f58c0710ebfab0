#!/bin/bash
# Opening a device: a module that is not this program's, a driver that is not there, a device that is not there or too old; what `auto`
# says where it takes the CPU. Run with the programs that load the emulated backend.
# usage: opening.sh BIN-DIRECTORY
. tests/e2e/common.sh "$1"
golden=$PWD/tests/golden/llama-gmoe
mkdir -p "$work/own/bin" "$work/own/lib/gmoe" "$work/driver" "$work/no-driver"
cp "$bin/gmoe-train" "$work/own/bin"
module=$work/own/lib/gmoe/libgmoe_cuda.so
train=("$work/own/bin/gmoe-train" --config "$golden/config.json" --base-model "$golden/base" --data-dir "$golden"
    --output-dir "$work/run" --dry-run)

# --- a module that is not whole, of another build, or none
shipped=$bin/../lib/gmoe/libgmoe_cuda.so
for n in 20000 200000; do # behind what is loaded there may be debugging information, which is not missed
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

# --- numbers
expect 1 'there is no device cuda:1048577; the last one here is cuda:0$' "${train[@]}" --device cuda:1048577
for device in cuda: cuda:-1 cuda:x cuda:2147483648 gpu; do
    expect 2 "\"$device\" is none of auto, cpu, cuda, cuda:N \(N from 0 to 2147483647\)$" "${train[@]}" --device "$device"
done

# --- auto: says why it takes the CPU, and warns where there is a driver
auto() { good env LD_LIBRARY_PATH="$1" GMOE_EMULATION_CAPABILITY="$2" "${train[@]}" "${@:3}"; }
: >"$work/no-driver/libcuda.so.1" # in front of one that the machine may have
cp "$module" "$work/driver/libcuda.so.1"
auto "$work/driver" 90
grep -q 'auto' "$work/stderr" && fail "auto takes the device, and says: $(cat "$work/stderr")"
auto "$work/no-driver" 90
grep -q -- '--device auto takes the CPU: no NVIDIA driver is found (libcuda.so.1)$' "$work/stderr" || fail "no driver: $(cat "$work/stderr")"
auto "$work/no-driver" 90 --quiet
[ -s "$work/stderr" ] && fail "no driver, --quiet: $(cat "$work/stderr")"
auto "$work/driver" 75 --quiet
grep -q -- '--device auto takes the CPU: cuda:0 (emulation) has compute capability 7.5; 8.0 is needed' "$work/stderr" ||
    fail "an old device: $(cat "$work/stderr")"
finish
