#!/bin/bash
# scripts/get_data.sh against a source on this machine: the layout that the tasks expect, checksums, retries, nothing half-done.
. tests/e2e/common.sh "$1"
command -v curl >/dev/null && command -v python3 >/dev/null || { echo "skipped: needs curl and python3"; exit 77; }
get=$PWD/scripts/get_data.sh base=$PWD/assets/world/base config=$PWD/tests/golden/llama-gmoe/config.json
export GMOE_DATA_SOURCE=file://$work/source GMOE_DATA_PAUSE=0
cd "$work" || exit 1

# --- small archives under the publishers' names, an item a file
python3 - <<'PYTHON'
import json, os, zipfile
arc = {"id": "a", "question": {"stem": "Which?", "choices": [{"text": "x", "label": "A"}, {"text": "y", "label": "B"}]}, "answerKey": "A"}
item = lambda value: json.dumps(value) + "\n"
siqa = item({"context": "c", "question": "q", "answerA": "a", "answerB": "b", "answerC": "d"})
piqa = item({"goal": "g", "sol1": "a", "sol2": "b"})
winogrande = item({"qID": "1", "sentence": "The _ is big.", "option1": "a", "option2": "b", "answer": "1"})
hellaswag = item({"ind": 1, "activity_label": "A", "ctx_a": "a", "ctx_b": "b", "ctx": "a b", "endings": list("wxyz"), "label": 0})
archives = {
    "ARC-V1-Feb2018.zip": {f"ARC-V1-Feb2018-2/{s}/{s}-{p}.jsonl": item(arc) for s in ("ARC-Challenge", "ARC-Easy") for p in ("Train", "Dev", "Test")}
    | {"ARC-V1-Feb2018-2/ARC_Corpus.txt": "large"},
    "OpenBookQA-V1-Sep2018.zip": {f"OpenBookQA-V1-Sep2018/Data/Main/{p}.jsonl": item(arc) for p in ("train", "dev", "test")},
    "socialiqa-train-dev.zip": {f"socialiqa-train-dev/{p}{e}": t for p in ("train", "dev") for e, t in ((".jsonl", siqa), ("-labels.lst", "1\n"))},
    "physicaliqa-train-dev.zip": {f"physicaliqa-train-dev/{p}{e}": t for p in ("train", "dev") for e, t in ((".jsonl", piqa), ("-labels.lst", "0\n"))},
    "winogrande_1.1.zip": {f"winogrande_1.1/{p}.jsonl": winogrande for p in ("train_debiased", "train_xl", "dev")},
    "SST-2.zip": {"SST-2/train.tsv": "sentence\tlabel\ngood\t1\n", "SST-2/dev.tsv": "sentence\tlabel\nbad\t0\n", "SST-2/test.tsv": "index\tsentence\n0\twell\n"},
}
os.makedirs("source")
for name, members in archives.items():
    with zipfile.ZipFile("source/" + name, "w") as archive:
        for member, text in members.items(): archive.writestr(member, text)
for name, text in {"hellaswag_train.jsonl": hellaswag, "hellaswag_val.jsonl": hellaswag}.items(): open("source/" + name, "w").write(text)
for name in ("train.jsonl", "dev.jsonl"): open("source/" + name, "w").write(item({"question": "is it", "title": "t", "answer": True, "passage": "p"}))
PYTHON

# nothing DIR: nothing but SHA256SUMS is in it
nothing() { [ -z "$(find "$1" -mindepth 1 ! -name SHA256SUMS)" ] || fail "left behind: $(find "$1" -mindepth 1 | head -3 | tr '\n' ' ')"; }

# --- misuse
expect 2 'usage: ' "$get"
expect 2 'usage: ' "$get" imdb
"$get" imdb 2>&1 | grep -q 'imdb: no such data set; there are arc-c' || fail "an unknown data set is not named"
expect 2 'usage: ' "$get" --frce siqa
expect 2 'usage: ' "$get" --data-dir
good "$get" --help
grep -q 'SHA256SUMS' "$work/stdout" || fail "--help says nothing"
good "$get" --list
[ "$(wc -l <"$work/stdout")" = 9 ] || fail "--list"

# --- what is not the publisher's is refused; what has no known sum is recorded and checked ever after
expect 1 'OpenBookQA-V1-Sep2018.zip: has the SHA-256 [0-9a-f]{64}, not 82368cf0' "$get" --data-dir refused obqa
nothing refused
good "$get" --data-dir data siqa
grep -q 'SHA-256 [0-9a-f]*, recorded in' "$work/stderr" || fail "an unknown sum is not shown"
(cd data && sha256sum --quiet -c SHA256SUMS) || fail "SHA256SUMS does not hold"
good "$get" --data-dir data siqa
grep -q 'there already' "$work/stderr" || fail "fetched twice"
echo more >>data/SIQA/dev.jsonl
expect 1 'data/SIQA/dev.jsonl: is not what was fetched' "$get" --data-dir data siqa
rm data/SIQA/dev.jsonl
cp source/socialiqa-train-dev.zip kept.zip
echo x >>source/socialiqa-train-dev.zip
expect 1 'socialiqa-train-dev.zip: has the SHA-256 [0-9a-f]{64}, and [0-9a-f]{64} when it was first fetched' "$get" --data-dir data siqa
[ ! -e data/SIQA/dev.jsonl ] || fail "a changed download was kept"
mv kept.zip source/socialiqa-train-dev.zip
good "$get" --data-dir data siqa
[ -s data/SIQA/dev.jsonl ] || fail "a missing file is not fetched again"

# --- every data set, as its task looks for it
good "$get" --data-dir data --any-checksum all
[ -e data/SST-2/test-unlabelled.tsv ] && [ ! -e data/SST-2/test.tsv ] || fail "GLUE's test split has no labels"
[ -z "$(find data -name '.get_data*' -o -name '*Corpus*' -o -name '*.zip')" ] || fail "archives were left"
(cd data && sha256sum --quiet -c SHA256SUMS) || fail "SHA256SUMS does not hold"
for task in $("$get" --list); do
    good "$bin/gmoe-train" --config "$config" --base-model "$base" --output-dir out --dry-run --data-dir data --set task="$task" --quiet
    grep -q '1 samples' "$work/stdout" || fail "$task: $(tail -1 "$work/stderr")"
done

# --- downloads that fail
rm source/winogrande_1.1.zip
expect 1 'winogrande_1.1.zip: cannot be downloaded' "$get" --data-dir none winogrande
nothing none
echo "no archive" >source/winogrande_1.1.zip
expect 1 'winogrande_1.1.zip: cannot be unpacked, or lacks a file' "$get" --data-dir none winogrande
nothing none
expect 1 'cannot be' "$get" --data-dir /proc/none winogrande

# --- a server that breaks off twice: tried again, and whole in the end
cat >server.py <<'PYTHON'
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    requests = 0
    def do_GET(self):
        Handler.requests += 1
        body = open("source/" + self.path.split("/")[-1], "rb").read()
        self.send_response(503 if Handler.requests == 1 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if Handler.requests > 2 else body[: len(body) // 2])
    def log_message(self, *arguments): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
open("port.tmp", "w").write(str(server.server_port))
import os; os.rename("port.tmp", "port")
server.serve_forever()
PYTHON
python3 server.py &
server=$!
for _ in $(seq 100); do [ -e port ] && break; sleep 0.1; done
good env GMOE_DATA_SOURCE="http://127.0.0.1:$(cat port)" "$get" --data-dir again siqa
[ "$(grep -c 'failed (try' "$work/stderr")" = 2 ] || fail "not tried again twice: $(cat "$work/stderr")"
cmp -s again/SIQA/train.jsonl data/SIQA/train.jsonl || fail "what came in the end is not whole"
kill $server
wait $server 2>/dev/null

# --- the real thing, where it is here: Google's own bytes have the sums that the script knows
if [ -e "$shared/data/datasets/BoolQ/train.jsonl.gz" ]; then
    for file in train dev; do gunzip -c "$shared/data/datasets/BoolQ/$file.jsonl.gz" >source/$file.jsonl; done
    good "$get" --data-dir real boolq
    [ "$(wc -l <real/BoolQ/train.jsonl)" = 9427 ] || fail "BoolQ"
fi
finish
