#!/usr/bin/env bash
# Builds, then fine-tunes GMoE on the small model of an invented world (assets/world) and scores it on held-out items,
# before and after: opinions (is a sentence positive or negative?) and questions about the world (which of four answers?).
# No network data, no GPU; about three minutes on two cores. Output: runs/demo.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -gt 0 ]; then echo "usage: scripts/demo.sh" >&2; exit 2; fi
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} # a small model on a shared machine: waiting threads sleep
scripts/deps.sh
# The programs alone: CUDA's kernels, where there is nvcc, take longer to compile than the demo takes, and it runs on the CPU.
bin=build/bin
echo "building $bin …"
cmake -S . -B build >/dev/null
cmake --build build -j "$(nproc)" --target gmoe-train gmoe-eval gmoe-inspect gmoe-tokenize gmoe-bench | { # shows each tenth once
    last=0
    while IFS= read -r line; do
        if [[ $line =~ ^\[\ *([0-9]*0)%\] ]] && [ "${BASH_REMATCH[1]}" -gt $last ]; then last=${BASH_REMATCH[1]}; echo "  $last %"; fi
    done
}
out=runs/demo base=assets/world/base data=assets/world/data
mkdir -p "$out"

number() { sed -n "s/.*\"$2\": *\([0-9.]*\).*/\1/p" "$1" | head -1; }
percent() { awk -v x="$1" 'BEGIN { printf "%5.1f %%", 100 * x }'; }
summary=()

# demo NAME TASK HEADLINE EVALUATION-OPTIONS…
demo() {
    local name=$1 task=$2 headline=$3 begin
    shift 3
    echo
    echo "== $headline: GMoE fine-tuning, configs/demo-$name.json"
    "$bin/gmoe-eval" --base-model "$base" --data-dir "$data" --task "$task" --dtype f32 --device cpu --quiet "$@" --output "$out/$name-base.json" >/dev/null
    begin=$(date +%s)
    "$bin/gmoe-train" --config "configs/demo-$name.json" --device cpu --overwrite
    summary+=("$(printf '%-34s base model %s   with the adapter %s   (%d s)' "$headline" "$(percent "$(number "$out/$name-base.json" accuracy)")" \
        "$(percent "$(number "$out/$name/result.json" accuracy)")" $(($(date +%s) - begin)))")
    echo "expert load, share of the tokens' slots, a row a layer:"
    awk '/"expert_load"/ { on = 1; next } on && /"/ { exit } on { gsub(/[][}{, ]+/, " "); if (NF) { printf "  layer %d ", n++; for (i = 1; i <= NF; i++) printf " %5.1f %%", 100 * $i; print "" } }' \
        "$out/$name/result.json"
}

demo opinions sst2 "Opinions, two labels" --scoring label
demo questions arc-c "Questions, three or four answers" --prompt lm-eval --scoring likelihood

echo
cp "$out/questions/report.html" "$out/report.html"
echo "Files, for opinions and questions each ($out/report.html is the latter's report):"
for file in report.html config.json metrics.jsonl result.json adapter best; do echo "  $out/{opinions,questions}/$file"; done
echo
echo "Accuracy on held-out items (the adapters' differ by a few per cent between processors):"
printf '  %s\n' "${summary[@]}"
