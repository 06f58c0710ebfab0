# For the scripts of this folder: `. tests/e2e/common.sh BIN-DIRECTORY` from the source tree's root.
set -u
bin=$1
shared=$(realpath -m "${GMOE_SHARED:-../shared}")
work=$(mktemp -d)
export GMOE_TASKS=$PWD/configs/tasks # scripts leave the source tree
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=passive # tiny models: threads only wait for each other
failures=0

fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

# expect STATUS PATTERN COMMAND…: exit status, and a line of standard error that ends the program and matches the pattern (extended).
expect() {
    local want=$1 pattern=$2
    shift 2
    "$@" >"$work/stdout" 2>"$work/stderr"
    local status=$?
    [ $status -eq "$want" ] || fail "exit status $status, not $want: $* ($(tail -1 "$work/stderr"))"
    tail -1 "$work/stderr" | grep -Eq -- "$pattern" || fail "last line of $*: $(tail -1 "$work/stderr"), not: $pattern"
}

# good COMMAND…: exit status 0
good() {
    "$@" >"$work/stdout" 2>"$work/stderr" || { fail "exit status $?: $*"; tail -5 "$work/stderr"; }
}

# once COMMAND…: the command with the last of each option that stands there twice, but for --set: programs refuse the others
once() {
    local -A seen=()
    local kept=() i=$#
    while [ $i -ge 1 ]; do
        case ${!i} in
        --*) if [ "${!i}" != --set ] && [ -n "${seen[${!i}]-}" ]; then kept=("${kept[@]:1}"); else kept=("${!i}" "${kept[@]}"); fi; seen[${!i}]=1 ;;
        *) kept=("${!i}" "${kept[@]}") ;;
        esac
        i=$((i - 1))
    done
    "${kept[@]}"
}

# take_golden_data: sets `golden`, a case with all its files, and puts its data into $work/data, its test split as validation too
take_golden_data() {
    golden=$PWD/tests/golden/llama-gmoe
    mkdir "$work/data"
    cp "$golden/train.jsonl" "$golden/test.jsonl" "$work/data"
    cp "$golden/test.jsonl" "$work/data/validation.jsonl"
}

# need_shared PATH: ends the script as skipped where the shared data lacks it
need_shared() {
    [ -e "$shared/$1" ] || { echo "skipped: $shared/$1 is absent"; exit 77; }
}

finish() {
    [ $failures -eq 0 ] && echo "all good"
    exit $((failures > 0))
}
