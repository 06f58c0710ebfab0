#!/bin/bash
# Training data that is tokenized once into mapped files: the same run as from memory, found again, made again where it is damaged or
# something that it depends on changed, and never whole in memory.
. tests/e2e/common.sh "$1"
golden=$PWD/tests/golden/llama-gmoe
mkdir "$work/data" "$work/runs"
cp "$golden/train.jsonl" "$golden/test.jsonl" "$work/data"
cp -r "$golden/base" "$work/base"
cd "$work" || exit 1
train=("$bin/gmoe-train" --config "$golden/config.json" --base-model base --data-dir data --set train.max_steps=6 --set train.save_every=3
    --set train.eval_every=0)
mapped=("${train[@]}" --set train.map_above_mb=0)
same() { cmp "$1/adapter/adapter_model.safetensors" "$2/adapter/adapter_model.safetensors" || fail "$3"; }
caches() { find "${1:-runs/token-cache}" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | tr '\n' ' '; }

# --- the same run, found again
good "${train[@]}" --output-dir runs/memory
[ ! -e runs/token-cache ] || fail "a small file is not kept in memory"
good "${mapped[@]}" --output-dir runs/first
same runs/memory runs/first "from mapped files another adapter comes out"
grep -q '^data/train.jsonl: its tokens are in runs/token-cache$' stderr || fail "it is not said where the tokens are"
before=$(caches)
made=$(stat -c %Y.%i runs/token-cache/*)
[[ $before =~ ^[0-9a-f]{16}\ $ ]] || fail "the cache holds $before"
good "${mapped[@]}" --output-dir runs/second/
same runs/memory runs/second "tokens found again make another adapter"
[ "$made" = "$(stat -c %Y.%i runs/token-cache/*)" ] || fail "tokens that are there are made again"
good "${mapped[@]}" --output-dir runs/seeds --seeds 1,2 --set train.max_steps=1
[ "$(caches runs/seeds/token-cache | wc -w)" = 1 ] || fail "seeds do not share their tokens"
good "${mapped[@]}" --output-dir elsewhere --set train.token_cache=my/tokens
[ "$(caches my/tokens)" = "$before" ] || fail "train.token_cache is not where the tokens are"
# a run goes on from memory, and the other way round
cp -r runs/first runs/changed
rm -r runs/changed/checkpoints/step-6 runs/changed/result.json
good "${train[@]}" --output-dir runs/changed --resume
same runs/memory runs/changed "a run that goes on from memory ends with another adapter"

# --- damaged, or half made
for name in tokens samples totals MANIFEST; do
    printf 'x' | dd of="runs/token-cache/${before% }/$name" bs=1 seek=9 conv=notrunc status=none
    good "${mapped[@]}" --output-dir runs/damaged --overwrite
    grep -q "; the data set is tokenized again\$" stderr || fail "damaged $name are not noticed: $(cat stderr)"
    same runs/memory runs/damaged "damaged $name are taken"
done
rm -r "runs/token-cache/${before% }"
mkdir "runs/token-cache/${before% }.tmp"
echo half >"runs/token-cache/${before% }.tmp/tokens"
good "${mapped[@]}" --output-dir runs/half
same runs/memory runs/half "what a killed program left is taken"
[ "$(caches)" = "$before" ] || fail "what a killed program left stays: $(caches)"

# --- whatever the tokens depend on makes others
others=1
for change in 'sed -i 1d data/train.jsonl' 'echo >>base/tokenizer_config.json' 'touch -d yesterday data/test.jsonl' 'true --set train.max_length=12' \
    'true --set train.append_eos=false' 'true --skip-bad'; do
    eval "${change%% --*}"
    case $change in touch*) want=0 ;; *) want=1 ;; esac
    extra=()
    [[ $change == *\ --* ]] && read -ra extra <<<"--${change#* --}"
    good "${mapped[@]}" --output-dir runs/others --overwrite "${extra[@]}"
    others=$((others + want))
    [ "$(caches | wc -w)" = $others ] || fail "after $change there are $(caches | wc -w) sets of tokens, not $others"
done

# --- faults have their file and line, and leave nothing
mkdir bad
cp data/test.jsonl bad
for i in $(seq 3000); do echo '{"prompt": "a", "completion": " b"}'; done >bad/train.jsonl
echo '{"prompt": "a"}' >>bad/train.jsonl
expect 3 'bad/train.jsonl: line 3001: ' once "${mapped[@]}" --data-dir bad --output-dir bad/run
[ -z "$(find bad/token-cache -mindepth 1)" ] || fail "a bad file leaves tokens: $(find bad/token-cache)"
[ ! -e bad/run ] || fail "a bad file leaves a run"
good once "${mapped[@]}" --data-dir bad --output-dir bad/run --skip-bad
grep -q '^warning: bad/train.jsonl: 1 bad lines were left out' stderr || fail "lines left out are not said"

# a split's first item tells whether it has labels, and a later part's first line is not that
mkdir unlabelled
awk 'BEGIN {for (i = 0; i < 1000; i++) pad = pad "0123456789"; for (i = 0; i < 1700; i++) {
    label = (i == 1 || i > 10) ? -1 : 1; printf "{\"goal\": \"%s\", \"sol1\": \"a\", \"sol2\": \"b\", \"label\": %d}\n", pad, label}}' >unlabelled/train.jsonl
good once "${mapped[@]}" --set task=piqa --set eval.prompt=paper --data-dir unlabelled --set train.max_length=64 --skip-bad --dry-run --output-dir unlabelled/run
grep -q '1690 bad lines were left out' stderr || fail "lines without a label: $(tail -1 stderr)"

# a run that waits for another one's tokens can be stopped; tokens that become shorter under a run are told
mkdir -p busy/token-cache
exec 9<busy/token-cache
flock 9
"${mapped[@]}" --output-dir busy/run >/dev/null 2>stderr 9<&- &
waiting=$!
for _ in $(seq 1000); do grep -q 'waiting for it' stderr && break; sleep 0.1; done
kill -TERM $waiting
wait $waiting
[ $? = 75 ] || fail "a run that waits cannot be stopped: $(cat stderr)"
exec 9<&-
once "${mapped[@]}" --set train.max_steps=1000000 --output-dir shrinks/run >/dev/null 2>stderr &
running=$!
for _ in $(seq 1000); do grep -q '^step ' stderr && break; sleep 0.1; done
truncate -s 0 shrinks/token-cache/*/tokens
wait $running
[ $? = 3 ] && grep -q 'tokens: cannot be read any more' stderr || fail "tokens that become shorter: $(tail -1 stderr)"

# --- never whole in memory: 64 MB of text, and less than that for all that the program allocates
mkdir large
cp data/test.jsonl large
awk 'BEGIN {for (i = 0; i < 12; i++) text = text "the quick brown fox jumps over the lazy dog and then sleeps in the warm sun; "
    for (i = 0; i < 68000; i++) printf "{\"prompt\": \"%d %s\", \"completion\": \" %d\"}\n", i, text, i}' >large/train.jsonl
large=(once "${train[@]}" --data-dir large --set train.max_steps=1 --set train.max_length=2048 --set train.batch_size=1)
(failures=0; ulimit -d 360000 && good "${large[@]}" --output-dir large/mapped --set train.map_above_mb=16; exit $failures) || fail "tokens of a large file take memory"
(failures=0; ulimit -d 360000 && expect 4 'out of memory' "${large[@]}" --output-dir large/memory --set train.map_above_mb=1024; exit $failures) ||
    fail "the limit does not limit: the test sees nothing"
finish
