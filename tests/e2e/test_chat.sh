#!/bin/bash
# Conversations through the programs: trained on and scored by the model's own template or the task file's roles, shown with what
# carries loss, resumed, and refused by line.
. tests/e2e/common.sh "$1"
cp -r tests/golden/llama-lora "$work/good"
cd "$work" || exit 1
mkdir data
for split in train validation test; do
    cat >data/$split.jsonl <<'LINES'
{"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "One?"}, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "Two </s>?"}, {"role": "assistant", "content": "No."}]}
{"conversations": [{"from": "human", "value": "Three?"}, {"from": "gpt", "value": "Yes."}]}
{"instruction": "Say four.", "output": "Four."}
{"prompt": "Five", "completion": " six"}
LINES
done
zephyr="{% for m in messages %}{{ '<|' + m.role + '|>\\\\n' + m.content + eos_token + '\\\\n' }}{% endfor %}"
sed -i "s#\"bos_token\"#\"chat_template\": \"$zephyr\", &#" good/base/tokenizer_config.json
train=("$bin/gmoe-train" --config good/config.json --base-model good/base --data-dir data --set train.max_steps=4 --set train.eval_every=2 --set train.save_every=2)

# the plan names the template; what carries loss stands in ⟦ ⟧, a span an answer with the </s> that the template wrote
good "${train[@]}" --output-dir out --dry-run
grep -q '^  2 conversations, rendered by the chat template Zephyr$' "$work/stdout" || fail "the plan says nothing of conversations: $(cat "$work/stdout")"
sample=$(grep -A30 '^sample 1' "$work/stdout" | tail -n +2 | tr -d '\n')
[ "$(grep -o '⟦' <<<"$sample" | wc -l)" = 2 ] || fail "not two spans: $sample"
good "${train[@]}" --output-dir out --dry-run --log-level debug
[ "$(grep -cE ' 2  loss +</s>$' "$work/stdout")" = 2 ] || fail "not two </s> with loss: $(grep '</s>' "$work/stdout")"
[ "$(grep -cE ' 2 +</s>$' "$work/stdout")" = 3 ] || fail "not three </s> without loss: $(grep '</s>' "$work/stdout")"

# trains, evaluates, resumes; another template is other data
good "${train[@]}" --output-dir out
grep -q '"event":"eval","step":4' out/metrics.jsonl || fail "no evaluation: $(cat out/metrics.jsonl)"
good "${train[@]}" --output-dir out --resume --set train.max_steps=6
good "$bin/gmoe-eval" --base-model good/base --adapter out/adapter --task jsonl --data-dir data --output e.json
grep -q '"n": 4' e.json || fail "not four items: $(cat e.json)"
cp -r good other
sed -i 's#|>#|] #' other/base/tokenizer_config.json
expect 2 'out/checkpoints/step-6: was made with another tokenizer' once "${train[@]}" --base-model other/base --output-dir out --resume --set train.max_steps=8
rm -rf out

# a template that ends turns with what is no token of the tokenizer
cp -r good unended
sed -i 's#eos_token + #"<|im_end|>" + #' unended/base/tokenizer_config.json
sed -i "s#\"<|im_end|>\" + #'<|im_end|>' + #" unended/base/tokenizer_config.json
good once "${train[@]}" --base-model unended/base --output-dir unended/run --dry-run
grep -q 'jsonl train: in 2 of 2 conversations no token ends the assistant' "$work/stderr" || fail "turns that do not end are not told: $(cat "$work/stderr")"

# roles of a task file in place of the template, and a model without one
sed 's#"append_eos"#"chat": {"user": "Q: {content}\\n", "assistant": "A:{content}\\n", "system": "{content}\\n"}, &#' "$GMOE_TASKS/jsonl.json" >roles.json
good "${train[@]}" --output-dir out --dry-run --set task=roles.json
grep -q "rendered by the chat template the task file's$" "$work/stdout" || fail "the plan says nothing of roles"
sed -i 's#"chat_template": "[^"]*", ##' other/base/tokenizer_config.json
expect 3 'data/train.jsonl: line 1: other/base: the model has no chat template; give the task file a "chat" with a text for each role$' \
    once "${train[@]}" --base-model other/base --output-dir out
good once "${train[@]}" --base-model other/base --output-dir out --dry-run --set task=roles.json
[ ! -e out ] || fail "something is in the output directory: $(ls out)"

# refused by line, and left out with --skip-bad
sed -i '2s/"gpt"/"tool"/' data/train.jsonl
expect 3 'data/train.jsonl: line 2: conversations: message 2: from: "tool" is not supported' "${train[@]}" --output-dir out
good "${train[@]}" --output-dir out --skip-bad
grep -q 'skipped: data/train.jsonl: line 2: conversations' "$work/stderr" || fail "what was skipped is not said"
rm -rf out
printf '{"messages": [{"role": "user", "content": "a long question that is cut"}, {"role": "assistant", "content": "Yes."}]}\n' >data/train.jsonl
good "${train[@]}" --output-dir out --set train.max_length=16
grep -q 'train: 1 samples are longer than train.max_length (16) and lost their beginning' "$work/stderr" || fail "the cut is not said: $(cat "$work/stderr")"
finish
