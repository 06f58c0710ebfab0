#!/bin/bash
# Where a run may be, what it takes for its own there, and what it writes where its standard descriptors are closed.
. tests/e2e/common.sh "$1"
take_golden_data
cd "$work" || exit 1
train=("$bin/gmoe-train" --config "$golden/config.json" --base-model "$golden/base" --data-dir data --set train.max_steps=2
    --set train.save_every=1 --set train.eval_every=1)
good "${train[@]}" --output-dir run

# --- folders and files whose names only look like a run's
foreign="checkpoints/step-notes.tmp checkpoints/step-.tmp checkpoints/step-007.tmp checkpoints/step-3.tmp.tmp checkpoints/step-3.old adapter.pruned.tmp
    best.damaged config.json.tmp.d"
files="config.json.tmp metrics.jsonl.tmp result.json.gmoe-12345.tmp result.json.gmoe-notes.tmp"
for name in $foreign; do mkdir "run/$name" && echo mine >"run/$name/notes"; done
for name in $files; do echo mine >"run/$name"; done
mkdir run/report.html.gmoe-123456.tmp
echo half >run/config.json.gmoe-0123ab.tmp # what a run leaves that dies while it writes
good "${train[@]}" --output-dir run --resume --set train.max_steps=3
good "${train[@]}" --output-dir run --overwrite
for name in $foreign; do [ "$(cat "run/$name/notes" 2>&1)" = mine ] || fail "run/$name/notes is gone"; done
for name in $files; do [ "$(cat "run/$name" 2>&1)" = mine ] || fail "run/$name is gone"; done
[ -d run/report.html.gmoe-123456.tmp ] || fail "a directory that is called as a leftover is gone"
[ ! -e run/config.json.gmoe-0123ab.tmp ] || fail "a leftover stays"

# --- no run in the folders that another one replaces
cp -r run/best moved
cp -r run/adapter plain
ln -s run/checkpoints link
find run moved plain | sort >before
for place in run/best run/best/deep/er run/adapter run/adapter/sub run/checkpoints run/checkpoints/mine run/checkpoints/step-2/x ./run/../run/best/x \
    run/absent/../best/x run/adapter.old.tmp run/best.tmp/x moved/x moved plain "$PWD/run/best/x" link/x; do
    for option in --quiet --overwrite --resume --dry-run; do
        expect 2 '^gmoe-train: output_dir: .*(lies in .*, a folder that a run replaces|is an adapter.s directory); take another output_dir$' \
            "${train[@]}" --output-dir "$place" $option
    done
done
expect 2 '^gmoe-train: seed 1: output_dir: run/best/seed-1: is or lies in .*/run/best, ' "${train[@]}" --output-dir run/best --seeds 1
find run moved plain | sort | cmp -s before - || fail "a refused place was changed: $(find run moved plain | sort | diff before - | head -5)"
good "${train[@]}" --output-dir run/others/best # nothing of the run's
mkdir -p free/checkpoints && good "${train[@]}" --output-dir free/checkpoints/one

# --- a run and folders of seeds in one directory: each message leads on
cp -r run both
mkdir -p both/seed-7 && cp -r run/. both/seed-7
good "${train[@]}" --output-dir both --resume
expect 2 'output_dir: both: holds a run; give --seeds another output_dir' "${train[@]}" --output-dir both --seeds 7 --resume
mkdir -p mine/seed-3 series/seed-007 && echo mine >mine/seed-3/notes && echo mine >series/seed-007/notes
good "${train[@]}" --output-dir mine
good "${train[@]}" --output-dir series --seeds 12,7
expect 2 '^gmoe-train: output_dir: series: holds runs of several seeds \(series/seed-12\); give --seeds' "${train[@]}" --output-dir series
[ -z "$(ls series | grep -v '^seed-\|^summary.json$')" ] || fail "left in series: $(ls series)"
good "$bin/gmoe-inspect" both && grep -q '^state: finished' "$work/stdout" || fail "gmoe-inspect of a run beside a seed's: $(cat "$work/stdout")"
expect 2 'both: is the output directory of a run; use both/adapter' "$bin/gmoe-eval" --base-model "$golden/base" --data-dir data --task jsonl --adapter both

# --- a series that died while it wrote its summary
echo half >series/summary.json.gmoe-0123ab.tmp
good "${train[@]}" --output-dir series --seeds 12,7 --resume
[ ! -e series/summary.json.gmoe-0123ab.tmp ] || fail "a half-written summary stays"

# --- closed descriptors: no file of the run gets their numbers, and what is meant for them
lines() { grep -cv '^{.*}$' "$1"; }
for how in "<&- >&- 2>&-" "<&- 2>&-" "<&- >&-" "2>&-" ">&- 2>&-"; do
    rm -rf closed
    (
        exec </dev/null >/dev/null 2>&1
        eval '"${train[@]}" --output-dir closed '"$how"
    )
    status=$?
    case $how in
    *'>&- '* | *' >&-') want=1 ;; # what the run prints got lost
    *) want=0 ;;
    esac
    [ $status -eq $want ] || fail "closed $how: exit status $status"
    [ "$(lines closed/metrics.jsonl)" = 0 ] || fail "closed $how: in metrics.jsonl: $(grep -v '^{.*}$' closed/metrics.jsonl | head -2)"
    cmp -s closed/adapter/adapter_model.safetensors run/adapter/adapter_model.safetensors || fail "closed $how: another adapter"
    [ ! -e closed/lock ] || fail "closed $how: the lock stays"
done
# the items of an evaluation go to a file, and only they
"$bin/gmoe-eval" --base-model "$golden/base" --adapter run/adapter --data-dir data --task jsonl --output scores.json <&- 2>&- >/dev/null
[ $? -eq 0 ] && [ "$(head -c 1 scores.json)" = "{" ] || fail "gmoe-eval with closed descriptors"
expect 1 'standard input: Bad file descriptor' "$bin/gmoe-tokenize" --tokenizer "$golden/base" <&-

# --- another's file beside what a program writes
echo mine >q.json.tmp && echo precious >p && ln -s p r.json.tmp
eval=("$bin/gmoe-eval" --base-model "$golden/base" --data-dir data --task jsonl)
good "${eval[@]}" --output q.json --items r.json
[ "$(cat q.json.tmp p)" = "mine
precious" ] && [ -L r.json.tmp ] && [ -s q.json ] && [ -s r.json ] || fail "files beside --output and --items: $(ls -l)"
finish
