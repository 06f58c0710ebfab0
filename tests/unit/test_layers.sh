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
# every function of a header has a caller in src: its name stands, outside of comments, in another place than its declaration and
# its definition, which begin at a line's first column
unused() {
    grep -rhE '^[a-z]' "$1" --include=*.h | grep -v '^static' | grep -oE '\bgm_[a-z0-9_]+\(' | tr -d '(' | sort -u >"$work/declared"
    find "$@" \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' \) -print0 | xargs -0 sed -z -E 's#/\*([^*]|\*+[^*/])*\*+/##g' | tr '\0' '\n' |
        sed -E '/^[a-z]/s/\bgm_[a-z0-9_]+\(//' |
        grep -oE '\bgm_[a-z0-9_]+\b' | sort -u >"$work/used"
    comm -23 "$work/declared" "$work/used" >"$work/unused"
}
mkdir -p "$work/dead/base"
printf '/* gm_dead() */\nvoid gm_dead(void);\nvoid gm_alive(void);\n' >"$work/dead/base/one.h"
printf 'void gm_dead(void) { /* not gm_dead() again */ gm_alive(); }\n' >"$work/dead/base/one.c"
unused "$work/dead"
[ "$(cat "$work/unused")" = gm_dead ] || { echo "a function without a caller passed: $(cat "$work/unused")"; exit 1; }
unused src kernels
if [ -s "$work/unused" ]; then echo "without a caller: $(tr '\n' ' ' <"$work/unused")"; exit 1; fi
# a typed pointer's address is no void pointer's: GM_GROW is for that
if grep -rnF '(void **)&' src; then echo "a pointer is written through another type"; exit 1; fi
echo "layers: ok"
