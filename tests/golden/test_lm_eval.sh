#!/bin/bash
# Log-likelihoods of lm-evaluation-harness (golden/lm-eval.tsv, written by scripts/oracle/check_lm_eval.py) against gmoe-eval's, on the
# shared data sets and model: the harness's prompts, tokens and scores, without shots and with two.
. tests/e2e/common.sh "$1"
model=$shared/data/models/stories260K
golden=$PWD/tests/golden/lm-eval.tsv
need_shared data/models/stories260K
need_shared data/datasets

# An item's scores, as the lines of the golden have them: TASK SPLIT SHOTS INDEX SCORE…
scores() { sed -E 's/^\{"index":([0-9]+),.*"scores":\[([^]]*)\].*/\1\t\2/' "$1" | tr , '\t' | sed "s/^/$2\t$3\t$4\t/"; }

checked=0
while read -r task split shots items; do
    good "$bin/gmoe-eval" --base-model "$model" --data-dir "$shared/data/datasets" --task "$task" --split "$split" --prompt lm-eval \
        --shots "$shots" --limit "$items" --dtype f32 --device cpu --items "$work/items.jsonl"
    scores "$work/items.jsonl" "$task" "$split" "$shots" >"$work/ours"
    awk -F'\t' -v t="$task" -v n="$shots" '$1 == t && $3 == n' "$golden" >"$work/theirs"
    paste "$work/theirs" "$work/ours" | awk -F'\t' -v bound=1e-3 '
        { half = NF / 2
          if (half < 5 || half != int(half)) { print "another number of choices: " $0; exit }
          for (i = 1; i <= half; i++) {
              off = $i - $(half + i)
              if (i <= 4 ? $i != $(half + i) : !(off <= bound && off >= -bound)) print "differs in field " i ": " $0
          } }
        END { if (NR == 0) print "nothing compared" }' >"$work/wrong"
    [ -s "$work/wrong" ] && fail "$task, $shots shots: $(head -3 "$work/wrong")"
    checked=$((checked + 1))
done < <(grep -v '^#' "$golden" | cut -f1-3 | sort | uniq -c | awk '{print $2, $3, $4, $1}')
[ $checked -ge 10 ] || fail "only $checked tasks and numbers of shots"
finish
