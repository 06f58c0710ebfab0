#!/usr/bin/env bash
# Fills a folder with the headers and shared objects of the libraries that gmoe needs (about 45 MB, most of it oneDNN), so that
# scripts/gpu_check.sh can build on a machine with a GPU, the CUDA toolkit, gcc, g++, make, CMake 3.25 and Python 3, but no network.
#   scripts/gpu_pack.sh [DIR]        default: .gpu
# DIR is new, empty, or one that this script filled before.
set -euo pipefail
[[ $# -le 1 && ${1-} != -* ]] || { echo "usage: scripts/gpu_pack.sh [DIR]" >&2; exit 2; }
[ $# = 0 ] || out=$(realpath -m "$1")
cd "$(dirname "$0")/.."
out=${out:-$PWD/.gpu}
if [ -e "$out" ] && [ ! -e "$out/filled-by-gpu_pack" ] && [ -n "$(ls -A "$out")" ]; then
    echo "gpu_pack.sh: $out is not empty, and not filled by this script: name another folder" >&2
    exit 2
fi
scripts/deps.sh
rm -rf "$out"
mkdir -p "$out/include" "$out/lib"
: >"$out/filled-by-gpu_pack"

headers() { # of a package, without the folder of the architecture
    dpkg-query -L "$1" | grep -E '^/usr/include/.*\.(h|hpp)$' | while read -r file; do
        local name=${file#/usr/include/}
        name=${name#"$(gcc -print-multiarch)/"}
        mkdir -p "$out/include/$(dirname "$name")"
        cp "$file" "$out/include/$name"
    done
}
for package in libdnnl-dev libcjson-dev zlib1g-dev libpcre2-dev libutf8proc-dev libcmocka-dev; do headers "$package"; done

for name in dnnl cjson z pcre2-8 utf8proc cmocka; do
    file=$(realpath "$(gcc -print-file-name="lib$name.so")")
    soname=$(objdump -p "$file" | sed -n 's/^ *SONAME *//p')
    cp "$file" "$out/lib/$soname"
    ln -s "$soname" "$out/lib/lib$name.so"
done
# What these need in turn, but for what comes with a C compiler (oneDNN may want OpenCL's loader).
ldd "$out"/lib/*.so | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | sort -u | while read -r file; do
    name=$(basename "$file")
    [[ $name =~ ^(libc|libm|libdl|librt|libpthread|libgcc_s|libstdc\+\+|libgomp)\.so ]] || [ -e "$out/lib/$name" ] || cp "$file" "$out/lib/$name"
done
echo "$out: $(du -sm "$out" | cut -f1) MB; on the other machine: scripts/gpu_check.sh --deps $out"
