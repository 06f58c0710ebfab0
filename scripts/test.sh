#!/usr/bin/env bash
# Builds and runs the whole suite: everything optimised with warnings as errors, then the unit tests, the operations,
# the hostile files and the fuzz targets once more under the address and undefined-behaviour sanitizers. Data of ../shared is used where
# it is there ($GMOE_SHARED names another place); tests that need it say "skipped" where it is not.
#   scripts/test.sh            both
#   scripts/test.sh --fast     the first alone
set -euo pipefail
cd "$(dirname "$0")/.."
fast=
case "${1:-}" in
"") ;;
--fast) fast=1 ;;
*) echo "usage: scripts/test.sh [--fast]" >&2; exit 2 ;;
esac
scripts/deps.sh
jobs=$(nproc)
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} # tiny models, and tests beside one another: waiting threads sleep

# Where nvcc is, the kernels are compiled for one architecture: all six take minutes. cmake -DGMOE_CUDA=ON has them all.
cmake -S . -B build/test -DCMAKE_BUILD_TYPE=RelWithDebInfo -DGMOE_WERROR=ON -DGMOE_CUDA_ARCHITECTURES=90a-real >/dev/null
cmake --build build/test -j "$jobs"
if [ -z "$fast" ]; then
    cmake -S . -B build/sanitize -DCMAKE_BUILD_TYPE=Debug -DGMOE_SANITIZE=ON -DGMOE_CUDA=OFF >/dev/null
    cmake --build build/sanitize -j "$jobs"
    # libgomp's and oneDNN's pools live to the end of the process
    OMP_NUM_THREADS=1 LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp ctest --no-tests=error --test-dir build/sanitize --output-on-failure -j "$jobs" -R '^(unit|ops|hostile|fuzz)/'
fi
ctest --no-tests=error --test-dir build/test --output-on-failure -j 1
