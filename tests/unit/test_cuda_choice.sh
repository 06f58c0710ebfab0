#!/bin/bash
# What CMake makes of an nvcc (cmake/CudaArchitectures.cmake, cmake/Cuda.cmake), with nvccs that only answer questions.
. tests/e2e/common.sh "$1"
command -v cmake >/dev/null || { echo "skipped: no cmake"; exit 77; }

# nvcc RELEASE ARCHITECTURES…: $work/nvcc, which compiles nothing
nvcc() {
    local release=$1
    shift
    printf '#!/bin/sh\ncase "$1" in\n--version) echo "Cuda compilation tools, release %s, V%s.1" ;;\n--list-gpu-arch) printf "compute_%%s\\n" %s ;;\n*) echo "$*" >>%s; exit 1 ;;\nesac\n' \
        "$release" "$release" "$*" "$work/compiled" >"$work/nvcc"
    chmod +x "$work/nvcc"
}
shipped=$(sed -n 's/^set(GMOE_CUDA_ARCHITECTURES "\([^"]*\)".*/\1/p' cmake/Cuda.cmake)
# chooses WANTED ARCHITECTURES
chooses() {
    local got
    got=$(cmake -DNVCC="$work/nvcc" -DARCHITECTURES="$2" -P cmake/CudaArchitectures.cmake 2>&1)
    [ "$got" = "$1" ] || fail "of $2: $got, not $1"
}
nvcc 13.0 75 80 86 89 90 100 120
chooses "13.0: $shipped" "$shipped"
nvcc 12.0 50 80 86 89 90
chooses "12.0: 80-real;86-real;89-real;90-real;90-virtual" "$shipped"
chooses "12.0: 90a-real" "90a-real"
chooses "12.0: " "100-real;120-virtual"
nvcc 11.8 35 80 86 89 90
chooses "11.8: 86-real" "86-real;90a-real"
nvcc 11.2 35 80 86
chooses "11.2: 80-real;86-real;86-virtual" "$shipped"
printf '#!/bin/sh\nexit 1\n' >"$work/nvcc"
chooses ": " "$shipped"

# says TEXT: a configuration goes on without CUDA and says why; one that insists ends with the same reason
says() {
    local mode
    for mode in AUTO ON; do
        rm -rf "$work/build"
        env -u CUDACXX cmake -S "$work/project" -B "$work/build" -DGMOE_CUDA=$mode -DGMOE_NVCC="$work/nvcc" >"$work/log" 2>&1
        local status=$?
        tr -s '\n ' '  ' <"$work/log" | grep -qF -- "$1" || fail "GMOE_CUDA=$mode does not say $1: $(cat "$work/log")"
        case $mode$status in AUTO0 | ON1) ;; *) fail "GMOE_CUDA=$mode: exit status $status" ;; esac
    done
}
mkdir "$work/project"
printf 'cmake_minimum_required(VERSION 3.25)\nproject(choice LANGUAGES NONE)\ninclude(%s/cmake/Cuda.cmake)\n' "$PWD" >"$work/project/CMakeLists.txt"
says "nvcc does not run"
nvcc 11.2 35 80 86
says "CUDA 11.2 is older than 11.8"
nvcc 12.0 50 80 90
says "nvcc compiles nothing here"

# acts VALUE [CUDACXX]: what GMOE_CUDA=VALUE makes of an nvcc that compiles nothing: refused (the value), insists, looks or off
acts() {
    rm -rf "$work/build"
    env CUDACXX="${2-$work/nvcc}" cmake -S "$work/project" -B "$work/build" -DGMOE_CUDA="$1" -DGMOE_NVCC="$work/nvcc" >"$work/log" 2>&1
    case $?$(tr -s '\n ' '  ' <"$work/log") in
    1*"GMOE_CUDA=$1: it is AUTO, ON or OFF"*) echo refused ;;
    1*"GMOE_CUDA=ON: $work/nvcc compiles nothing here"*) echo insists ;;
    0*"CUDA backend: OFF: $work/nvcc compiles nothing here"*) echo looks ;;
    0*"CUDA backend: OFF -- "*) echo off ;;
    *) cat "$work/log" ;;
    esac
}
for pair in AUTO:looks auto:looks ON:insists on:insists TRUE:insists 1:insists OFF:off off:off False:off 0:off OF:refused ONN:refused :refused; do
    got=$(acts "${pair%:*}")
    [ "$got" = "${pair#*:}" ] || fail "GMOE_CUDA=${pair%:*}: $got, not ${pair#*:}"
done
[ "$(acts AUTO "")" = looks ] || fail "an empty CUDACXX: $(cat "$work/log")"

# An nvcc that failed, mended since: the same folder tries it again.
for mode in AUTO ON; do
    rm -f "$work/compiled"
    env -u CUDACXX cmake -S "$work/project" -B "$work/build" -DGMOE_CUDA=$mode >"$work/log" 2>&1
    [ -s "$work/compiled" ] || fail "GMOE_CUDA=$mode does not try nvcc again: $(cat "$work/log")"
done

# The module of a build with CUDA does not outlive it.
for mode in AUTO OFF; do
    mkdir -p "$work/build/lib/gmoe"
    touch "$work/build/lib/gmoe/libgmoe_cuda.so"
    good env -u CUDACXX cmake -S "$work/project" -B "$work/build" -DGMOE_CUDA=$mode
    [ -e "$work/build/lib/gmoe/libgmoe_cuda.so" ] && fail "GMOE_CUDA=$mode leaves a module that it does not build"
done
finish
