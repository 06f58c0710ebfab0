#!/usr/bin/env bash
# Downloads data sets from their publishers into a data directory, as the tasks of configs/tasks look for them.
#   scripts/get_data.sh [--data-dir DIR] [--any-checksum] TASK…      TASK: a name of --list, or all
# A download whose SHA-256 is known here must have it. Of the others, the first download's is recorded in DIR/SHA256SUMS and
# must be the same ever after. The files' own sums are there too: (cd DIR && sha256sum -c SHA256SUMS).
#   --any-checksum   takes what the publisher has now, and records it
#   GMOE_DATA_SOURCE=URL   a mirror: everything comes from URL/NAME (http, https, file), with the same checksums
#   GMOE_DATA_PAUSE=S      seconds before the second try (default 3), twice and three times as many before the next
set -euo pipefail
tasks="arc-c arc-e boolq obqa siqa sst2 piqa hellaswag winogrande"
usage="usage: scripts/get_data.sh [--data-dir DIR] [--any-checksum] TASK… | all | --list"
say() { echo "get_data.sh: $*" >&2; }
die() { say "$@"; exit 1; }
misuse() { say "$1"; echo "$usage" >&2; exit 2; }

# Each download: begin URL SHA256 (- where no two sources agree on one), then what is kept of it: keep MEMBER TARGET; a plain
# file is its own member. Sums: data sets' archives as the TensorFlow and Hugging Face catalogues and others recorded them.
ai2=https://s3-us-west-2.amazonaws.com/ai2-website/data
mosaic=https://storage.googleapis.com/ai2-mosaic/public
hellaswag=https://raw.githubusercontent.com/rowanz/hellaswag/master/data
describe() {
    case $1 in
    arc-c | arc-e) # one archive for both, with a text corpus beside them
        begin $ai2/ARC-V1-Feb2018.zip 6d2d5ab50b2ceec6ba5f79c921be77cf2de712ea25a2b3f4fff3acc101cecfa0 "681 MB"
        for set in ARC-Challenge ARC-Easy; do
            for split in Train Dev Test; do keep ARC-V1-Feb2018-2/$set/$set-$split.jsonl $set/$set-$split.jsonl; done
        done
        end ;;
    boolq)
        begin https://storage.googleapis.com/boolq/train.jsonl cc7a79d44479867e8323a7b0c5c1d82edf516ca34912201f9384c3a3d098d8db "7 MB"
        keep train.jsonl BoolQ/train.jsonl
        end
        begin https://storage.googleapis.com/boolq/dev.jsonl ebc29ea3808c5c611672384b3de56e83349fe38fc1fe876fd29b674d81d0a80a "2 MB"
        keep dev.jsonl BoolQ/dev.jsonl
        end ;;
    obqa)
        begin $ai2/OpenBookQA-V1-Sep2018.zip 82368cf05df2e3b309c17d162e10b888b4d768fad6e171e0a041954c8553be46 "1 MB"
        for split in train dev test; do keep OpenBookQA-V1-Sep2018/Data/Main/$split.jsonl OpenBookQA/$split.jsonl; done
        end ;;
    siqa)
        begin $mosaic/socialiqa/socialiqa-train-dev.zip - "2 MB"
        for split in train dev; do
            keep socialiqa-train-dev/$split.jsonl SIQA/$split.jsonl
            keep socialiqa-train-dev/$split-labels.lst SIQA/$split-labels.lst
        done
        end ;;
    sst2) # GLUE keeps the test split's labels to itself: under this name the task does not take it for its test split
        begin https://dl.fbaipublicfiles.com/glue/data/SST-2.zip d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa "7 MB"
        keep SST-2/train.tsv SST-2/train.tsv
        keep SST-2/dev.tsv SST-2/dev.tsv
        keep SST-2/test.tsv SST-2/test-unlabelled.tsv
        end ;;
    piqa)
        begin $mosaic/physicaliqa/physicaliqa-train-dev.zip 54d32a04f59a7e354396f321723c8d7ec35cc6b08506563d8d1ffcc15ce98ddd "2 MB"
        for split in train dev; do
            keep physicaliqa-train-dev/$split.jsonl PIQA/$split.jsonl
            keep physicaliqa-train-dev/$split-labels.lst PIQA/$split-labels.lst
        done
        end ;;
    hellaswag)
        begin $hellaswag/hellaswag_train.jsonl - "47 MB"
        keep hellaswag_train.jsonl HellaSwag/hellaswag_train.jsonl
        end
        begin $hellaswag/hellaswag_val.jsonl 0aa3b88843990f3f10a97b9575c94d7b71fb2205240ba04ae4884d9e9c992588 "12 MB"
        keep hellaswag_val.jsonl HellaSwag/hellaswag_val.jsonl
        end ;;
    winogrande) # the publisher has replaced the archive since it came out
        begin $mosaic/winogrande/winogrande_1.1.zip - "3 MB"
        for part in train_debiased train_xl dev; do keep winogrande_1.1/$part.jsonl WinoGrande/$part.jsonl; done
        end ;;
    esac
}

# ---- checksums: DIR/SHA256SUMS has a line for each file, and a comment for each download --------------------------------

sum_of() { sha256sum -- "$1" | cut -d' ' -f1; }
recorded() { if [ -f "$sums" ]; then awk -v name="$1" '$1 != "#" && substr($0, 67) == name { print $1 }' "$sums" | tail -1; fi; }
recorded_download() { if [ -f "$sums" ]; then awk -v url="$1" '$1 == "#" && $2 == url { print $3 }' "$sums" | tail -1; fi; }

# record KEY LINE: the line takes the place of those with the same key, in one step
record() {
    { if [ -f "$sums" ]; then grep -vF -- "$1" "$sums" || true; fi; echo "$2"; } >"$work/sums"
    mv "$work/sums" "$sums"
}

# ---- one download -------------------------------------------------------------------------------------------------------

begin() { url=$1 known=$2 size=$3 members=() targets=(); }
keep() { members+=("$1"); targets+=("$2"); }

# All files are there: each must still be what it was when it was fetched. One that was put there by hand is left alone.
all_there() {
    local target sum
    for target in "${targets[@]}"; do [ -s "$data/$target" ] || return 1; done
    for target in "${targets[@]}"; do
        sum=$(recorded "$target")
        [ -z "$sum" ] || [ "$sum" = "$(sum_of "$data/$target")" ] ||
            die "$data/$target: is not what was fetched (see $sums); remove it to fetch it again"
    done
}

# fetch URL FILE: the whole file or a failure. What cannot change by waiting is not tried again.
fetch() {
    local try status
    for try in 1 2 3 4; do
        status=0
        if command -v curl >/dev/null; then
            curl --fail --silent --show-error --location --connect-timeout 30 --speed-limit 1 --speed-time 60 \
                --output "$2" -- "$1" || status=$?
            case $status in 0) return 0 ;; 1 | 3 | 23 | 37) break ;; esac # protocol, address, disk, absent local file
        elif command -v wget >/dev/null; then
            wget --quiet --tries=1 --timeout=60 --output-document="$2" -- "$1" || status=$?
            case $status in 0) return 0 ;; 1 | 2 | 3) break ;; esac
        else
            die "needs curl or wget"
        fi
        rm -f -- "$2"
        [ $try -lt 4 ] || break
        say "$1: failed (try $try of 4), again in $((pause * try)) s"
        sleep $((pause * try))
    done
    rm -f -- "$2"
    die "$1: cannot be downloaded (status $status)"
}

check_download() {
    local sum before
    sum=$(sum_of "$work/download")
    before=$(recorded_download "$url")
    if [ -z "$any" ] && [ "$known" != - ] && [ "$sum" != "$known" ]; then
        die "$url: has the SHA-256 $sum, not $known; nothing was kept. If the publisher replaced it, --any-checksum takes it as it is"
    fi
    if [ -z "$any" ] && [ -n "$before" ] && [ "$sum" != "$before" ]; then
        die "$url: has the SHA-256 $sum, and $before when it was first fetched; nothing was kept. --any-checksum takes it as it is"
    fi
    [ "$known" != - ] || [ -n "$before" ] || say "${url##*/}: SHA-256 $sum, recorded in $sums; compare it with someone else's"
    record "# $url " "# $url $sum"
}

unpack() {
    mkdir "$work/files"
    case $url in
    *.zip)
        if command -v unzip >/dev/null; then
            unzip -q -o "$work/download" "${members[@]}" -d "$work/files" || die "$url: cannot be unpacked, or lacks a file"
        elif command -v python3 >/dev/null; then
            python3 -c 'import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); [z.extract(m, sys.argv[2]) for m in sys.argv[3:]]' \
                "$work/download" "$work/files" "${members[@]}" || die "$url: cannot be unpacked, or lacks a file"
        else
            die "needs unzip or python3"
        fi ;;
    *) mv "$work/download" "$work/files/${members[0]}" ;;
    esac
    local member
    for member in "${members[@]}"; do [ -s "$work/files/$member" ] || die "$url: $member is not in it, or empty"; done
}

end() {
    local i
    if all_there; then
        say "${targets[*]}: there already"
        return
    fi
    rm -rf "${work:?}"/*
    say "$url ($size)"
    local from=$url
    [ -z "$source" ] || from=${source%/}/${url##*/}
    fetch "$from" "$work/download"
    check_download
    unpack
    for i in "${!targets[@]}"; do
        mkdir -p "$data/$(dirname "${targets[i]}")"
        record "  ${targets[i]}" "$(sum_of "$work/files/${members[i]}")  ${targets[i]}"
        mv "$work/files/${members[i]}" "$data/${targets[i]}" # within one file system: whole or not at all
        say "$data/${targets[i]}"
    done
}

# ---- the command line ---------------------------------------------------------------------------------------------------

data=data any='' wanted=() source=${GMOE_DATA_SOURCE:-} pause=${GMOE_DATA_PAUSE:-3}
while [ $# -gt 0 ]; do
    case $1 in
    --data-dir) [ $# -gt 1 ] || misuse "--data-dir: DIR is missing"; data=$2; shift ;;
    --data-dir=*) data=${1#*=} ;;
    --any-checksum) any=1 ;;
    --list) echo "$tasks" | tr ' ' '\n'; exit 0 ;;
    --help | -h) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    -*) misuse "$1: no such option" ;;
    all) read -ra wanted <<<"$tasks" ;;
    *) case " $tasks " in *" $1 "*) wanted+=("$1") ;; *) misuse "$1: no such data set; there are $tasks" ;; esac ;;
    esac
    shift
done
[ ${#wanted[@]} -gt 0 ] || misuse "no TASK given"
[ -n "$data" ] || misuse "--data-dir: is empty"
mkdir -p "$data" || die "$data: cannot be made"
sums=$data/SHA256SUMS
work=$(mktemp -d "$data/.get_data.XXXXXX") # beside the data: what is moved from here appears whole
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
for task in "${wanted[@]}"; do describe "$task"; done
