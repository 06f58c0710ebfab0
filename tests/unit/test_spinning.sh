#!/bin/bash
# Programs that compute bound libgomp's busy waiting, and begin again once for it. $1: the build's bin directory.
. tests/e2e/common.sh "$1"
unset OMP_WAIT_POLICY GOMP_SPINCOUNT
export OMP_DISPLAY_ENV=verbose # libgomp says at each start of a program what it took

starts() { grep -c 'OPENMP DISPLAY ENVIRONMENT BEGIN' "$work/stderr"; }
# counts WANTED: of the program that went on
counts() { [ "$(sed -n "s/.*GOMP_SPINCOUNT = '\(.*\)'/\1/p" "$work/stderr" | tail -1)" = "$1" ] || fail "not $1 turns: $(grep SPIN "$work/stderr")"; }

for program in gmoe-train gmoe-eval gmoe-bench; do
    good "$bin/$program" --version
    grep -q SPINCOUNT "$work/stderr" || { echo "skipped: this OpenMP is not libgomp"; exit 77; }
    [ "$(starts)" = 2 ] || fail "$program started $(starts) times"
    counts "$(sed -n 's/.*turns\[\] = "\([0-9]*\)".*/\1/p' src/cli/spinning.c)"
    grep -q "^$program 0" "$work/stdout" || fail "$program: the arguments are lost"
    good env GOMP_SPINCOUNT=77 "$bin/$program" --version
    [ "$(starts)" = 1 ] || fail "$program with GOMP_SPINCOUNT started $(starts) times"
    counts 77
    good env OMP_WAIT_POLICY=active "$bin/$program" --version
    [ "$(starts)" = 1 ] || fail "$program with OMP_WAIT_POLICY started $(starts) times"
done
expect 2 'two words {1}' "$bin/gmoe-train" --config "two words {1}"
# started through the loader, /proc/self/exe is the loader
loader=$(ls /lib64/ld-linux-x86-64.so.2 /lib/ld-linux-aarch64.so.1 2>/dev/null | head -1)
if [ -n "$loader" ]; then
    good "$loader" "$bin/gmoe-train" --version
    grep -q '^gmoe-train ' "$work/stdout" || fail "through the loader: $(head -1 "$work/stdout")"
fi
finish
