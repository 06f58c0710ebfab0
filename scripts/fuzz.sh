#!/usr/bin/env bash
# Every parser under libFuzzer with the address and undefined-behaviour sanitizers: builds tests/fuzz/fuzz_*.c with clang, runs each
# from its seeds, prints how many inputs ran. What fails stays in build/fuzz/NAME-crash-*; `build/fuzz/NAME FILE` runs it again.
#   scripts/fuzz.sh [SECONDS [NAME…]]      120 seconds each, all of them
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-120}
[[ $seconds =~ ^[0-9]+$ ]] || { echo "usage: scripts/fuzz.sh [SECONDS [NAME…]]" >&2; exit 2; }
names=("${@:2}")
[ ${#names[@]} -gt 0 ] || names=($(cd tests/fuzz && printf '%s\n' fuzz_*.c | sed 's/^fuzz_//; s/\.c$//'))
for name in "${names[@]}"; do
    [ -f "tests/fuzz/fuzz_$name.c" ] || { echo "fuzz.sh: tests/fuzz/fuzz_$name.c: there is no such target" >&2; exit 2; }
done
scripts/deps.sh
out=build/fuzz
mkdir -p "$out"

# clang, and its run-time libraries, which are a package of their own, by its version
has_fuzzer() {
    echo 'int LLVMFuzzerTestOneInput(const unsigned char *p, unsigned long n) { return p && n ? 0 : -1; }' |
        clang -fsanitize=fuzzer,address -x c -o "$out/probe" - 2>/dev/null
}
install() {
    local root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo)
    echo "fuzz.sh: installing $*" >&2
    "${root[@]}" apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -qq --no-install-recommends "$@" >&2
}
command -v clang >/dev/null || install clang
has_fuzzer || install "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
has_fuzzer || { echo "fuzz.sh: this clang has no libFuzzer" >&2; exit 1; }

flags=(-std=c11 -D_DEFAULT_SOURCE -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -Iinclude -Isrc -Itests/fuzz)
libraries=(-lcjson -lz -lpcre2-8 -lutf8proc -lgomp -lm -lpthread) # gomp: of what asks for the number of threads; clang makes none here
# The parsers and what is below them, without the folders that need oneDNN
sources=(src/base/*.c src/backend/type.c src/io/*.c src/io/tokenizer/*.c src/data/*.c src/data/jinja/*.c
    src/model/adapter/{adapter_config,adapter_json,method_gmoe,method_lora}.c)
objects=()
for source in "${sources[@]}"; do
    object=$out/$(tr / . <<<"${source%.c}").o
    objects+=("$object")
done
build() { # OBJECT SOURCE
    clang "${flags[@]}" -fsanitize=fuzzer-no-link -c -o "$1" "$2"
}
for i in "${!sources[@]}"; do
    build "${objects[i]}" "${sources[i]}" &
    [ $(((i + 1) % $(nproc))) -ne 0 ] || wait
done
wait
clang "${flags[@]}" -o "$out/make_seeds" tests/fuzz/make_seeds.c "${objects[@]}" "${libraries[@]}"
"$out/make_seeds" . "$out/seeds"
for name in "${names[@]}"; do
    clang "${flags[@]}" -fsanitize=fuzzer -o "$out/$name" "tests/fuzz/fuzz_$name.c" tests/fuzz/support.c "${objects[@]}" "${libraries[@]}"
done

failed=0
printf '%-16s %12s %10s %8s %s\n' target executions seconds corpus found
for name in "${names[@]}"; do
    mkdir -p "$out/corpus/$name"
    status=0
    # An input that takes 10 s, or more than 512 MB, is a finding as well.
    "$out/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 -max_len=16384 -dict=tests/fuzz/dictionary -print_final_stats=1 \
        -artifact_prefix="$out/$name-" "$out/corpus/$name" "$out/seeds/$name" >"$out/$name.log" 2>&1 || status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/$name.log")
    took=$(sed -n 's/^Done [0-9]* runs in \([0-9]*\) second.*/\1/p' "$out/$name.log")
    printf '%-16s %12s %10s %8s %s\n' "$name" "${runs:-?}" "${took:-?}" "$(find "$out/corpus/$name" -type f | wc -l)" \
        "$([ $status -eq 0 ] && echo nothing || echo "$out/$name.log")"
    [ $status -eq 0 ] || failed=1
done
exit $failed
