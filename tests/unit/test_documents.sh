#!/bin/bash
# What the programs write from their tables: manual pages, completions, the configuration's schema. $1: the build's bin directory.
. tests/e2e/common.sh "$1"
programs="gmoe-train gmoe-eval gmoe-bench gmoe-inspect gmoe-tokenize"
present() { command -v "$1" >/dev/null || { echo "no $1: not tried"; return 1; }; }

# --- manual pages: every option of --help is there; no complaint from the formatter
for program in $programs; do
    good "$bin/$program" --help-man
    cp "$work/stdout" "$work/$program.1"
    grep -q '^\.SH OPTIONS' "$work/$program.1" || fail "$program: no manual page"
    "$bin/$program" --help | grep -Eo '^  --[a-z-]+' | while read -r option; do
        grep -qF -- "\\fB${option//-/\\-}\\fR" "$work/$program.1" || echo "$option"
    done >"$work/missing"
    [ ! -s "$work/missing" ] || fail "$program: its manual page lacks $(tr '\n' ' ' <"$work/missing")"
done
if present groff; then
    for program in $programs; do
        groff -man -Tutf8 -Kutf8 -P-cbou -ww "$work/$program.1" >"$work/page" 2>"$work/stderr"
        # width of a page that has no line breaks of its own is no fault
        grep -v 'cannot break line\|cannot adjust line\|can.t break line' "$work/stderr" && fail "$program: groff complains"
        grep -q 'EXIT STATUS' "$work/page" || fail "$program: groff made no page"
    done
fi

# --- a reader that takes no more than the beginning: no complaint
for option in --help --schema; do
    { sleep 0.2; "$bin/gmoe-train" $option 2>"$work/stderr"; } | true
    [ ! -s "$work/stderr" ] || fail "gmoe-train $option | true: $(cat "$work/stderr")"
done

# --- completions
for program in $programs; do
    for shell in bash zsh fish; do
        good "$bin/$program" --completions $shell
        cp "$work/stdout" "$work/$program.$shell"
        if [ $shell = bash ] || present $shell; then $shell -n "$work/$program.$shell" || fail "$program: $shell does not read its completion"; fi
    done
done
expect 2 '^gmoe-train: --completions: "tcsh" is none of bash, zsh, fish' "$bin/gmoe-train" --completions tcsh

# completes PROGRAM LINE WANTED: the words that bash would offer at the end of the line
completes() {
    local got
    got=$(COMP_LINE="$1 $2" COMP_POINT=$((${#1} + 1 + ${#2})) bash -c '. "$1"; _${2//-/_}; echo "${COMPREPLY[*]}"' - "$work/$1.bash" "$1" 2>&1)
    [ "$got" = "$3" ] || fail "$1 $2: completed to \"$got\", not \"$3\""
}
mkdir "$work/here" "$work/here/folder" && touch "$work/here/file.json"
cd "$work/here" || exit 1
completes gmoe-train "--ba" "--base-model"
completes gmoe-train "--quiet --ov" "--overwrite"
completes gmoe-train "--set adapter.ra" "adapter.rank="
completes gmoe-train "--set adapter.router.type=" "none graph linear"
completes gmoe-train "--set train.shuffle=t" "true"
completes gmoe-train "--set method=" "gmoe lora"
completes gmoe-train "--config file" "file.json"
completes gmoe-train "--base-model=" "folder"
completes gmoe-train "--device " "auto cpu cuda"
completes gmoe-train "--seeds " ""
completes gmoe-eval "--scoring l" "label likelihood"
completes gmoe-bench "--shape qwen2-7" "qwen2-7b"
completes gmoe-inspect "fi" "file.json"
completes gmoe-tokenize "--dec" "--decode"
if present fish; then
    got=$(fish -c ". '$work/gmoe-train.fish'; complete -C 'gmoe-train --set adapter.ra'" 2>/dev/null)
    [ "${got%%$'\t'*}" = "adapter.rank=" ] || fail "fish completes adapter.ra to \"$got\""
fi
cd "$OLDPWD" || exit 1

# --- the schema: says yes to what is shipped and no to what the program refuses
if present python3; then
    "$bin/gmoe-train" --schema >"$work/schema.json" || fail "--schema"
    python3 - "$work/schema.json" configs/*.json <<'PYTHON' || fail "the schema"
import json, sys

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}

def of_type(value, name):
    if name == "number": return isinstance(value, (int, float)) and not isinstance(value, bool)
    if name == "integer": return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])

def valid(value, schema):  # the words that our schema uses
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(of_type(value, name) for name in types): return False
    if "enum" in schema and value not in schema["enum"]: return False
    if of_type(value, "number"):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value): return False
        if "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]: return False
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0) or len(value) > schema.get("maxItems", len(value)): return False
        if schema.get("uniqueItems") and len({json.dumps(v) for v in value}) < len(value): return False
        return all(valid(v, schema["items"]) for v in value)
    if isinstance(value, dict):
        if schema.get("additionalProperties") is False and set(value) - set(schema["properties"]): return False
        return all(valid(v, schema["properties"][k]) for k, v in value.items())
    if isinstance(value, str): return schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
    return True

with open(sys.argv[1]) as file: schema = json.load(file)
checks = [valid]
try:
    import jsonschema
    jsonschema.Draft202012Validator.check_schema(schema)
    checks.append(lambda value, schema: jsonschema.Draft202012Validator(schema).is_valid(value))
except ImportError:
    print("no jsonschema: its own validator alone")
bad = [{"rank": 2}, {"adapter": {"rank": 0}}, {"adapter": {"rank": 1.5}}, {"adapter": 3}, {"dtype": "f64"}, {"train": {"betas": [0.9, 1]}},
       {"train": {"shuffle": "no"}}, {"adapter": {"targets": ["q", "q"]}}, {"adapter": {"router": {"hiden_size": 3}}}, []]
for check in checks:
    for name in sys.argv[2:]:
        with open(name) as file: assert check(json.load(file), schema), name
    assert check({"$schema": "gmoe.schema.json", "seed": 1}, schema)
    for value in bad: assert not check(value, schema), value
PYTHON
fi

# --- what an installation holds
if present cmake && [ -e "$bin/../cmake_install.cmake" ]; then
    cmake --install "$bin/.." --prefix "$work/prefix" >"$work/stdout" 2>&1 || fail "cmake --install: $(tail -1 "$work/stdout")"
    for program in $programs; do
        for file in "bin/$program" "share/man/man1/$program.1" "share/bash-completion/completions/$program" "share/zsh/site-functions/_$program" \
            "share/fish/vendor_completions.d/$program.fish"; do
            [ -s "$work/prefix/$file" ] || fail "$file is not installed"
        done
        cmp -s "$work/$program.1" "$work/prefix/share/man/man1/$program.1" || fail "the installed manual page of $program is another"
    done
fi
finish
