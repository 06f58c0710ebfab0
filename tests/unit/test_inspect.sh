#!/bin/bash
# gmoe-inspect: what it says of files, models and adapters, and its exit status. $1: the build's bin directory.
set -u
inspect=$1/gmoe-inspect
shared=${GMOE_SHARED:-../shared}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0

# file PATH JSON BYTES: a safetensors file with that header (under 256 bytes) and so many bytes of data
file() {
    { printf "\\x$(printf %02x ${#2})"; head -c 7 /dev/zero; printf %s "$2"; head -c "$3" /dev/zero; } > "$1"
}
# check WHAT STATUS TEXT ARGUMENT...: the exit status, and a text in the output or the messages
check() {
    local what=$1 status=$2 text=$3 output rc
    shift 3
    output=$("$inspect" "$@" 2>&1)
    rc=$?
    if [ $rc -ne "$status" ] || ! grep -qF -- "$text" <<< "$output"; then
        echo "FAILED: $what: status $rc, expected $status and \"$text\" in:"
        echo "$output"
        failures=$((failures + 1))
    fi
}

check "help" 0 "usage: gmoe-inspect PATH" --help
check "version" 0 "gmoe-inspect 0." --version
check "options end" 2 "one PATH only" -- -a b
check "no path" 2 "no PATH given"
check "two paths" 2 "one PATH only" a b
check "unknown option" 2 "no such option" --tensors
check "absent" 2 "$dir/none: No such file" "$dir/none"
check "empty directory" 3 "holds neither model.safetensors" "$dir"

file "$dir/x.safetensors" '{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"__metadata__":{"k":"v"}}' 24
check "tensor" 0 "2×3" "$dir/x.safetensors"
check "metadata" 0 "metadata: k = v" "$dir/x.safetensors"
check "totals" 0 "total: 1 tensors, 6 parameters, 24 B in 1 file" "$dir/x.safetensors"
check "not a model" 0 "gmoe cannot train on it" "$dir/x.safetensors"
file "$dir/cut.safetensors" '{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}' 23
check "truncated" 3 "$dir/cut.safetensors: a: " "$dir/cut.safetensors"
file "$dir/esc.safetensors" '{"\u001b[31m":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}' 1
check "no control bytes reach the terminal" 0 "?[31m" "$dir/esc.safetensors"
file "$dir/lora.safetensors" '{"x.lora_A.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"x.lora_B.weight":{"dtype":"F32","shape":[5,2],"data_offsets":[24,64]}}' 64
check "adapter" 0 "kind: adapter, LoRA, 0 layers, 1 pairs, rank 2" "$dir/lora.safetensors"
file "$dir/half.safetensors" '{"x.lora_A.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}' 24
check "half an adapter" 3 "other half x.lora_B.weight is missing" "$dir/half.safetensors"
mkdir "$dir/adapter" "$dir/model"
cp "$dir/lora.safetensors" "$dir/adapter/adapter_model.safetensors"
check "adapter directory" 0 "adapter_config.json is missing" "$dir/adapter"
echo '{"peft_type":"LORA","r":2,"lora_alpha":4}' > "$dir/adapter/adapter_config.json"
check "adapter configuration" 0 "peft_type LORA r 2 lora_alpha 4" "$dir/adapter"
echo '{"peft_type":"LORA","r":3}' > "$dir/adapter/adapter_config.json"
check "another rank" 3 "r is 3, and the tensors have rank 2" "$dir/adapter"
echo '{"peft_type":"LORA","r":2}' > "$dir/adapter/adapter_config.json"
check "what gmoe-eval needs" 0 'note: not for gmoe-eval --adapter: ' "$dir/adapter"
echo '{"peft_type":"LORA","r":2,"target_modules":["q_proj"],"kasa_config":null,"newer":null,"newest":false,"latest":{},"last":[]}' > "$dir/adapter/adapter_config.json"
[ -z "$("$inspect" "$dir/adapter" 2>&1 >/dev/null)" ] || { echo "FAILED: keys that say nothing are warned of"; failures=$((failures + 1)); }
echo '{"peft_type":"LORA","r":2,"target_modules":["q_proj"],"newer":1}' > "$dir/adapter/adapter_config.json"
check "a key that says something" 0 'newer: not a key that gmoe knows' "$dir/adapter"
for refused in '"use_dora":true' '"modules_to_save":["lm_head"]' '"use_bdlora":true'; do
    echo '{"peft_type":"LORA","r":2,"target_modules":["q_proj"],'"$refused"'}' > "$dir/adapter/adapter_config.json"
    check "$refused" 3 "problem: $dir/adapter/adapter_config.json: $(cut -d'"' -f2 <<< "$refused"): " "$dir/adapter"
    [ "$("$inspect" "$dir/adapter" | grep -c "gmoe can start from it")" = 0 ] || { echo "FAILED: $refused: gmoe cannot start from it"; failures=$((failures + 1)); }
done
cp "$dir/x.safetensors" "$dir/model/model.safetensors"
check "model without configuration" 3 "$dir/model/config.json" "$dir/model"
echo '{"model_type":"gpt2"}' > "$dir/model/config.json"
check "another kind of model" 3 'model_type: "gpt2" is not supported' "$dir/model"
echo '{"model_type":"llama"}' > "$dir/model/config.json"
check "missing tensors" 3 "model.embed_tokens.weight: is missing" "$dir/model"
check "no tokenizer" 3 "  $dir/model/tokenizer.json: is missing" "$dir/model"
check "each that is wrong" 3 "verdict: does not work, for 2 reasons" "$dir/model"
check "the first on standard error" 3 "gmoe-inspect: $dir/model/model.safetensors: " "$dir/model"
rm "$dir/model/model.safetensors"
echo '{"model_type":"llama","attn_logit_softcapping":30.0}' > "$dir/model/config.json"
check "nothing that works" 3 "verdict: does not work, for 3 reasons" "$dir/model"
check "its configuration" 3 "  $dir/model/config.json: attn_logit_softcapping: 30 is not supported" "$dir/model"
check "its weights" 3 "  $dir/model: holds neither model.safetensors" "$dir/model"
cp "$dir/x.safetensors" "$dir/model/model.safetensors"
check "a JSON file" 3 "config.json: is not a safetensors file but JSON text; a model, an adapter or a run is given by its directory" "$dir/model/config.json"
check "text" 3 "README.md: is not a safetensors file" README.md
mkdir "$dir/tokenizer"
cp tests/golden/llama-gmoe/base/tokenizer*.json "$dir/tokenizer"
check "a tokenizer alone" 0 "kind: a tokenizer without a model" "$dir/tokenizer"
check "its tokens" 0 "tokenizer: " "$dir/tokenizer"
mkdir -p "$dir/seeds/seed-10" "$dir/seeds/seed-2" "$dir/seeds/seeds"
echo '{"method": "gmoe", "adapter": {}, "train": {}, "eval": {}}' > "$dir/seeds/seed-2/config.json"
touch "$dir/seeds/seed-2/result.json"
check "runs for several seeds" 0 "kind: runs for several seeds, without a summary" "$dir/seeds"
check "a finished one" 0 "state: seed-2: finished" "$dir/seeds"
check "one that is not" 0 "state: seed-10: not finished, at step 0" "$dir/seeds"
check "how they go on" 0 "--resume goes on with them" "$dir/seeds"
mkdir -p "$dir/runs" "$dir/steps" "$dir/texts" && cp -r "$dir/seeds" "$dir/runs/one" && cp -r "$dir/seeds" "$dir/runs/two"
cp -r "$dir/adapter" "$dir/steps/step-4" && touch "$dir/texts/train.jsonl" "$dir/texts/test.jsonl"
check "a folder of runs" 0 "kind: a folder of 2 runs" "$dir/runs"
check "one of them" 0 "one: $dir/runs/one: gmoe-inspect says more of it" "$dir/runs"
check "a folder of adapters" 0 "one: $dir/steps/step-4: gmoe-eval --adapter" "$dir/steps"
mkdir "$dir/models" && cp -r tests/golden/llama-gmoe/base "$dir/models/llama"
check "a folder of models" 0 "one: $dir/models/llama: --base-model takes it" "$dir/models"
check "a folder of data" 0 "kind: a folder of 2 data files" "$dir/texts"
cp -r tests/golden/llama-gmoe/base "$dir/base"
check "its tokenizer" 0 "tokenizer: " "$dir/base"
check "all is well" 0 "verdict: works; gmoe can train on it" "$dir/base"
check "its attention" 0 "attention: grouped-query, 4 heads of 8 on 2 for keys" "$dir/base"
check "its memory" 0 "memory: 24,224 parameters take 94.6 KiB as f32, 47.3 KiB as bf16" "$dir/base"
check "linear scaling" 0 "rope: theta 10000, scaled linearly by 2" tests/golden/llama-linear/base
check "llama3 scaling" 0 "scaled as llama3 by 8 (1 to 4, from 64 positions)" tests/golden/llama31-gmoe/base
check "sliding window" 0 "sliding window of 16 from layer 0" tests/golden/mistral-lora/base
check "kinds of tokenizers" 0 "tokenizer: byte-level BPE" tests/golden/llama31-gmoe/base
check "kinds of tokenizers" 0 "tokenizer: BPE with byte fallback" tests/golden/llama-lora/base
sed -i '0,/"type": *"BPE"/s//"type": "Unigram"/' "$dir/base/tokenizer.json"
check "a tokenizer that is not supported" 3 "Unigram" "$dir/base"
check "so no training" 3 "verdict: does not work: $dir/base/tokenizer.json: " "$dir/base"
cp tests/golden/llama-gmoe/base/tokenizer.json "$dir/base/tokenizer.json"
sed -i 's/"added_tokens": *\[/&{"id": 900000, "content": "<far>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false},/' "$dir/base/tokenizer.json"
check "a tokenizer with more tokens than the model" 3 "verdict: does not work: $dir/base/tokenizer.json: " "$dir/base"

if [ -e /dev/full ]; then
    "$inspect" "$dir/x.safetensors" > /dev/full 2> "$dir/message"
    [ $? -eq 1 ] && grep -q "standard output" "$dir/message" || { echo "FAILED: a full standard output went unnoticed"; failures=$((failures + 1)); }
fi

if [ -d "$shared/data/models/stories260K" ]; then
    check "stories260K" 0 "gmoe can train on it" "$shared/data/models/stories260K"
    check "stories260K" 0 "260,032 parameters" "$shared/data/models/stories260K"
    check "its screen" 0 "model.layers.*.mlp.down_proj.weight" "$shared/data/models/stories260K"
    [ "$("$inspect" "$shared/data/models/stories260K" | wc -l)" -le 24 ] || { echo "FAILED: more than a screen"; failures=$((failures + 1)); }
    check "golden adapter" 0 "5 experts, graph router), 3 layers, 57 pairs, rank 3" "$shared/golden/llama-gmoe/init"
else
    echo "skipped: $shared is absent"
fi
echo "$failures failures"
[ $failures -eq 0 ]
