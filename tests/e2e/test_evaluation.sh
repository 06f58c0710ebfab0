#!/bin/bash
# Scores are an item's own: whatever stands beside it, in whichever order, in batches of any size, and however its choices share their
# prompt. Shots are those that the task names.
. tests/e2e/common.sh "$1"
golden=$PWD/tests/golden
mkdir "$work/data" "$work/one" "$work/reversed" "$work/alone"
cd "$work" || exit 1

# Choices of one token and of many, some of which begin another or like another, on prompts of all lengths.
cat >data/test.jsonl <<'END'
{"prompt": "The cat", "choices": [" sat", " sat on the mat", " ran", " sat on the hat"], "answer": 0}
{"prompt": "a", "choices": ["b", "c"], "answer": 1}
{"prompt": "Once upon a time there was a little girl who lived in a house by the sea, and every day she went to the water to look for shells.\nQuestion: what did she look for?\nAnswer:", "choices": [" shells", " shoes and a hat that she had lost in the water on another day", " water"], "answer": 0}
{"prompt": "Only one", "choices": [" choice"], "answer": 0}
{"prompt": "ends in space ", "choices": ["x y", "x", "xz"], "answer": 2}
{"prompt": "Grün ist", "choices": [" schön", " süß", " lang", " 草草草草", " ßßßßßßßß"], "answer": 1}
{"prompt": "The cat", "choices": [" sat on the mat", " sat on the mat"], "answer": 1}
END
for i in 1 2 3 4 5 6; do sed -n "$((i % 7 + 1))p" data/test.jsonl; done >more
cat more >>data/test.jsonl
cp data/test.jsonl data/train.jsonl
tac data/test.jsonl >reversed/test.jsonl

# values FILE…: the scores alone, a line an item
values() { sed -E 's/.*"scores":\[([^]]*)\].*/\1/' "$@"; }
eval=("$bin/gmoe-eval" --task jsonl --prompt lm-eval --device cpu --quiet)

# Each choice as an item of its own, without anything that it could share.
sed -E 's/.*"choices": \[(.*)\], "answer".*/\1/' data/test.jsonl | sed 's/", "/"\n"/g' >choices
sed -E 's/^(\{"prompt": ".*"), "choices": \[(.*)\], "answer".*/\1\t\2/' data/test.jsonl |
    awk -F'\t' '{ n = split($2, c, /", "/); for (i = 1; i <= n; i++) { gsub(/^"|"$/, "", c[i]); print $1 ", \"choices\": [\"" c[i] "\"], \"answer\": 0}" } }' >alone/test.jsonl
[ "$(wc -l <alone/test.jsonl)" -eq "$(wc -l <choices)" ] || fail "the choices alone: $(wc -l <alone/test.jsonl)"

for model in llama-lora qwen2-lora mistral-lora phi3-gmoe; do
    base=("${eval[@]}" --base-model "$golden/$model/base" --dtype f32)
    good "${base[@]}" --data-dir data --items all
    values all >want
    [ "$(wc -l <want)" -eq 13 ] || fail "$model: $(wc -l <want) items"
    for tokens in 1 7 40 100 300; do
        OMP_NUM_THREADS=2 good "${base[@]}" --data-dir data --batch-tokens $tokens --items batches
        values batches | cmp -s want - || fail "$model: the scores depend on --batch-tokens $tokens"
    done
    good "${base[@]}" --data-dir reversed --items backwards
    values backwards | tac | cmp -s want - || fail "$model: the scores depend on the order"
    for i in $(seq 13); do
        sed -n "${i}p" data/test.jsonl >one/test.jsonl
        good "${base[@]}" --data-dir one --items single
        values single | cmp -s <(sed -n "${i}p" want) - || fail "$model: item $i has other scores alone"
    done
    good "${base[@]}" --data-dir alone --items separate # attention cuts its tiles at other places: other last digits
    paste <(values separate) <(tr , '\n' <want) |
        awk 'NF != 2 { print "another number" } ($1 - $2) ^ 2 > 1e-10 { print } END { if (NR < 30) print "only", NR }' >wrong
    [ -s wrong ] && fail "$model: choices alone score otherwise: $(head -3 wrong)"
done

# Without AVX-512 oneDNN's own products would mix rows (where there is none this is the same once more).
export ONEDNN_MAX_CPU_ISA=AVX2
base=("${eval[@]}" --base-model "$golden/llama-lora/base" --dtype f32)
good "${base[@]}" --data-dir data --items all
values all >want
for tokens in 1 40; do
    OMP_NUM_THREADS=2 good "${base[@]}" --data-dir data --batch-tokens $tokens --items batches
    values batches | cmp -s want - || fail "AVX2: the scores depend on --batch-tokens $tokens"
done
good "${base[@]}" --data-dir reversed --items backwards
values backwards | tac | cmp -s want - || fail "AVX2: the scores depend on the order"
unset ONEDNN_MAX_CPU_ISA

# --- scores by length, in characters and in bytes
base=("${eval[@]}" --base-model "$golden/llama-lora/base" --data-dir data)
good "${base[@]}" --items items --output output
grep -q '"scoring": "likelihood", "shots": 0,.*"accuracy_norm": [0-9.]*, "stderr_norm": [0-9.]*, "accuracy_bytes": [0-9.]*, "stderr_bytes": [0-9.]*, "tokens": [0-9]' output ||
    fail "--output: $(cat output)"
grep -q '"prediction_norm":2,"prediction_bytes":3' items || fail "no item whose characters and bytes decide otherwise: $(cat items)"
# awk counts a choice's bytes (LC_ALL=C) and code points, and finds the best by each
expected() {
    paste <(values items) <(sed -E 's/.*"choices": \[(.*)\], "answer".*/\1/' data/test.jsonl) | LC_ALL=C awk -F'\t' '
        function best(kind,   i, b, x, most) {
            for (i = 1; i <= n; i++) { x = s[i] / (kind ? bytes[i] : chars[i]); if (i == 1 || x > most) { most = x; b = i } }
            return b - 1
        }
        { n = split($1, s, ","); split($2, c, /", "/)
          for (i = 1; i <= n; i++) {
              gsub(/^"|"$/, "", c[i]); sub(/^ /, "", c[i])
              bytes[i] = length(c[i]); t = c[i]; gsub(/[\200-\277]/, "", t); chars[i] = length(t)
          }
          printf "\"prediction_norm\":%d,\"prediction_bytes\":%d\n", best(0), best(1) }'
}
diff <(expected) <(grep -o '"prediction_norm":[0-9]*,"prediction_bytes":[0-9]*' items) >wrong || fail "predictions by length: $(cat wrong)"

# --- shots
cat >data/train.jsonl <<'END'
{"prompt": "one", "completion": " 1"}
{"prompt": "two", "choices": [" 1", " 2"], "answer": 1}
{"prompt": "three", "completion": " 3"}
END
prompts() { sed -E 's/.*"prompt":("[^"]*"),"choices".*/\1/' "$1"; }
good "${base[@]}" --shots 2 --items items --texts --output output
[ "$(prompts items | head -1)" = '"one 1\n\ntwo 2\n\nThe cat"' ] || fail "two shots: $(head -1 items)"
grep -q '"choices":\[" sat"," sat on the mat"," ran"," sat on the hat"\]}$' items || fail "--texts: $(head -1 items)"
grep -q '"shots": 2,' output || fail "--output does not say the shots: $(cat output)"
# nobody is his own shot
good "${base[@]}" --split train --shots 1 --items items --texts
[ "$(prompts items)" = '"one 1\n\ntwo"' ] || fail "a shot for the second item: $(prompts items)"
cat >data/train.jsonl <<'END'
{"prompt": "one", "choices": [" 1", " 2"], "answer": 0}
{"prompt": "two", "choices": [" 1", " 2"], "answer": 1}
{"prompt": "three", "choices": [" 1", " 3"], "answer": 1}
END
good "${base[@]}" --split train --shots 2 --items items --texts
[ "$(prompts items | tr '\n' ' ')" = '"two 2\n\nthree 3\n\none" "one 1\n\nthree 3\n\ntwo" "one 1\n\ntwo 2\n\nthree" ' ] || fail "own shots: $(prompts items)"
expect 2 '^gmoe-eval: --shots: 3 shots are more than the 2 that the task jsonl has in its split train, whose items are scored' "${base[@]}" --split train --shots 3
expect 2 '^gmoe-eval: --shots: 4 shots are more than the 3 that the task jsonl has in its split train$' "${base[@]}" --shots 4
expect 2 '^gmoe-eval: --shots: must be 0 to 1000' "${base[@]}" --shots 1001
expect 2 '^gmoe-eval: --texts: stands without --items' "${base[@]}" --texts
# those that the task names, in its order
named() { sed "s/\"shots\": .*/\"shots\": $1,/" "$GMOE_TASKS/jsonl.json" >named.json; }
task=(once "${base[@]}" --task ./named.json)
named '{"split": "train", "items": [2, 0]}'
good "${task[@]}" --shots 2 --items items --texts
[ "$(prompts items | head -1)" = '"three 3\n\none 1\n\nThe cat"' ] || fail "named shots: $(head -1 items)"
expect 2 '3 shots are more than the 2 that the task named has in its split train$' "${task[@]}" --shots 3
named '{"split": "train", "items": [3]}'
expect 2 "^gmoe-eval: --shots: named: the task's shots: item 3 is not among the 3 of data/train.jsonl" "${task[@]}" --shots 1
sed '/"shots"/d' "$GMOE_TASKS/jsonl.json" >named.json
expect 2 '^gmoe-eval: --shots: the task named has none; name their split in its file' "${task[@]}" --shots 1
good "${task[@]}" --items items
# their split is missing, or has no labels
once mv data/train.jsonl kept
expect 3 '^gmoe-eval: --shots: data: the split train of jsonl is not there' "${base[@]}" --shots 1
expect 3 '^gmoe-eval: data: the split train of jsonl is not there' once "${base[@]}" --task jsonl,./named.json --split train
echo '{"prompt": "one"}' >data/train.jsonl
expect 3 '^gmoe-eval: --shots: data/train.jsonl: line 1: ' "${base[@]}" --shots 1
mv kept data/train.jsonl
# long ones lose their beginning
good "${base[@]/--quiet/--log-level=warn}" --shots 3 --max-length 58
grep -q 'samples are longer than --max-length and lost their beginning, the first shots' stderr || fail "cut shots are not said: $(cat stderr)"

# --- in training
train=("$bin/gmoe-train" --config "$golden/llama-lora/config.json" --base-model "$golden/llama-lora/base" --data-dir data --device cpu
    --set train.max_steps=1 --set eval.prompt=lm-eval --set eval.shots=2)
good "${train[@]}" --output-dir run
grep -q '"shots": 2,' run/result.json || fail "result.json does not say the shots"
good "$bin/gmoe-eval" --base-model "$golden/llama-lora/base" --adapter run/adapter --task jsonl --data-dir data --output output
grep -q 'for jsonl 2 shots' stderr || fail "the run's shots are not its adapter's default: $(cat stderr)"
for key in shots correct accuracy_norm accuracy_bytes; do
    [ "$(grep -o "\"$key\": [^,]*" output | head -1)" = "$(grep -o "\"$key\": [^,]*" run/result.json | head -1)" ] || fail "gmoe-eval's $key is another"
done
expect 2 '^gmoe-train: eval.shots: 4 shots are more than the 3' "${train[@]}" --output-dir none --set eval.shots=4
expect 2 'eval.shots' "${train[@]}" --output-dir none --set eval.shots=-1
# examples are prompts: a conversation is none, and has none before it
mkdir talk
echo '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}' >talk/train.jsonl
cp data/test.jsonl talk
expect 3 '^gmoe-eval: --shots: talk/train.jsonl: line 1: is a conversation' once "${base[@]}" --data-dir talk --shots 1
finish
