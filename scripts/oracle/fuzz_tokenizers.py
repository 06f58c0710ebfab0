#!/usr/bin/env python3
"""Random texts through gmoe's tokenizer and the `tokenizers` package: ids with and without special tokens, special tokens as
plain text, and decoded text, of these and of random ids, must be equal. First over the shared tokenizers and those of
tokenizer_families.py, then over random patterns, then over tokenizers made at random of all the components that gmoe knows.
Not part of the test suite.
    VENV/bin/python scripts/oracle/fuzz_tokenizers.py [--shared ../shared] [--texts 20000] [--made 300] [--patterns 2000] [--seed 1]
GMOE_SANITIZE=1 with LD_PRELOAD of gcc's libasan runs gmoe's side under the address and undefined-behaviour sanitizers.
Each difference is printed with a text cut down to the shortest that still differs; the exit status tells if there was one."""
import argparse
import glob
import gzip
import json
import os
import random
import sys
import tempfile

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RUST_BACKTRACE"] = "0"
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers, Regex

import tokenizer_library
from tokenizer_families import FAMILIES
from tokenizer_texts import FIXED, SPACES, SPECIAL, random_piece, random_text, texts

FORMS = [normalizers.NFC, normalizers.NFD, normalizers.NFKC, normalizers.NFKD]
BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
PATTERNS = [
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+|\p{N}{1,3}",
    r" ?[^(\s|[.,!?…。，、।۔،])]+", r"[一-龥぀-ゟ゠-ヿ]+", r"\p{N}{1,3}", r"[0-9][0-9][0-9]", r"\s+", r"\w+|[^\w\s]+", r"\b", r"\B.", r"^.", r".$", r"(?m)a.b|\n.", r"\S+\s?",
    r"(?<=\d)\D|(?<!\p{L})\p{Lu}", r"a*", r"(?i)straße|k|ſ", r"[\W\d]", r"[^\S\n]+", r"x??y|(?:ab|a)++", r"\p{^L}{2,}", r"\P{M}\p{M}+", r"[a-f\d&&[^c2]]{,3}", r"\h+", r"\x{3000}|\u00e9",
    r"(?>a|ab)c|(?=\p{Lu})", r"[[:space:]]|[\p{Sc}\-]", r"\A\s|\s\z|\n\Z", r"[^\P{L}x]", r"[&&a]|b",
]


def shortest(text, differs):
    """Halves, then single characters, taken out while the difference stays."""
    size = len(text) // 2
    while size:
        at = 0
        while at < len(text):
            shorter = text[:at] + text[at + size:]
            if differs(shorter):
                text = shorter
            else:
                at += size
        size //= 2
    return text


def package_encode(package, text, special, plain):
    package.encode_special_tokens = plain
    return package.encode(text, add_special_tokens=special).ids


def with_tokens(source, text, tokens):
    """The text with some of the tokens put in at random places, white space beside them at times."""
    for _ in range(source.choice([0, 0, 1, 1, 2, 5])):
        at = source.randrange(len(text) + 1)
        token = source.choice(tokens) if tokens else ""
        text = text[:at] + source.choice(["", "", " ", source.choice(SPACES)]) + token + source.choice(["", "", " ", source.choice(SPACES)]) + text[at:]
    return text


def decodes_differently(ours, package, ids):
    return ids and any(ours.decode(ids, skip) != package.decode(ids, skip_special_tokens=skip) for skip in (True, False))


def compare(name, package, ours, count, seed):
    faults = 0
    source = random.Random(seed)
    tokens = [t.content for t in package.get_added_tokens_decoder().values()]
    every_id = sorted(package.get_vocab(with_added_tokens=True).values())

    def one(text):
        for special, plain in ((True, False), (False, True)):
            expected = package_encode(package, text, special, plain)
            if ours.encode(text, special, plain) != expected:
                return "encode", special, plain
        return "decode" if decodes_differently(ours, package, expected) else None

    for text in texts(source, count) if count > 500 else (random_text(source) for _ in range(count)):
        text = with_tokens(source, text, tokens)
        if source.randrange(1000) == 0:
            text += random_piece(source) * source.randrange(1, 3000) + text
        difference = one(text)
        ids = [source.choice(every_id) for _ in range(source.randrange(12))]
        if not difference and decodes_differently(ours, package, ids):
            faults += 1
            print(f"{name}: decode of {ids}: package {package.decode(ids, skip_special_tokens=False)!r}, ours {ours.decode(ids, False)!r}")
        if difference:
            faults += 1
            text = shortest(text, lambda t: one(t) is not None)
            print(f"{name}: {one(text)} of {json.dumps(text)}: package {package_encode(package, text, False, True)}, ours {ours.encode(text, False, True)}")
        if faults >= 5:
            print(f"{name}: … and maybe more")
            break
    return faults


def compare_file(name, file, options):
    ours = tokenizer_library.Tokenizer(file)
    found = compare(name, Tokenizer.from_file(file), ours, options.texts, options.seed)
    ours.close()
    print(f"{name}: {options.texts} texts, {found} differ", flush=True)
    return found


def some(source, choices, most):
    return [source.choice(choices)(source) for _ in range(source.randrange(most + 1))]


def random_pattern(source):
    return Regex(source.choice(PATTERNS)) if source.randrange(3) else source.choice([" ", "a", "▁", "  ", "é", "'s", "\n"])


def random_normalizer(source):
    makers = [lambda r: r.choice(FORMS)(), lambda r: normalizers.Lowercase(), lambda r: normalizers.StripAccents(), lambda r: normalizers.ByteLevel(), lambda r: normalizers.Strip(r.random() < 0.7, r.random() < 0.7),
              lambda r: normalizers.Prepend(r.choice(["▁", " ", "ab"])), lambda r: normalizers.Replace(random_pattern(r), r.choice(["▁", "", " ", "xy"])),
              lambda r: normalizers.Replace(" ", "▁")]
    return normalizers.Sequence(some(source, makers, 3))


def random_pre_tokenizer(source, mark):
    makers = [lambda r: pre_tokenizers.Split(random_pattern(r), r.choice(BEHAVIORS), r.random() < 0.3),
              lambda r: pre_tokenizers.ByteLevel(add_prefix_space=r.random() < 0.4, use_regex=r.random() < 0.5, trim_offsets=r.random() < 0.5),
              lambda r: pre_tokenizers.Digits(r.random() < 0.5), lambda r: pre_tokenizers.Punctuation(r.choice(BEHAVIORS)),
              lambda r: pre_tokenizers.Whitespace(), lambda r: pre_tokenizers.WhitespaceSplit(), lambda r: pre_tokenizers.BertPreTokenizer(),
              lambda r: pre_tokenizers.CharDelimiterSplit(r.choice("a é▁")),
              lambda r: pre_tokenizers.Metaspace(r.choice("▁_é"), prepend_scheme=r.choice(["first", "never", "always"]), split=r.random() < 0.5)]
    steps = some(source, makers, 2)
    if mark:
        steps.append(pre_tokenizers.Metaspace(prepend_scheme=source.choice(["first", "never", "always"]), split=source.random() < 0.5))
    elif source.random() < 0.5:
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=source.random() < 0.3, use_regex=source.random() < 0.5))
    return pre_tokenizers.Sequence(steps)


def random_decoder(source):
    makers = [lambda r: decoders.BPEDecoder(r.choice(["</w>", "a"])), lambda r: decoders.Strip(r.choice("aé▁"), r.randrange(3), r.randrange(3)),
              lambda r: decoders.Metaspace("_", prepend_scheme=r.choice(["first", "never", "always"])), lambda r: decoders.Replace(random_pattern(r), r.choice(["", "é", " "])),
              lambda r: decoders.ByteLevel(), lambda r: decoders.ByteFallback(), lambda r: decoders.Fuse(), lambda r: decoders.Replace("▁", " "),
              lambda r: decoders.Metaspace(prepend_scheme=r.choice(["first", "never", "always"])), lambda r: decoders.Strip(" ", 1, 0),
              lambda r: decoders.Replace(Regex(r"\s+"), "_")]
    return decoders.Sequence(some(source, makers, 4)) if source.random() < 0.8 else None


def random_model(source, package_corpus):
    """A trained vocabulary whose file is then given options that training does not have."""
    fallback = source.random() < 0.5
    package = Tokenizer(models.BPE(unk_token=source.choice([None, "<unk>"]), fuse_unk=source.random() < 0.5))
    mark = source.random() < 0.5
    package.normalizer = random_normalizer(source)
    package.pre_tokenizer = random_pre_tokenizer(source, mark)
    extras = {}
    if source.random() < 0.2:
        extras = {"continuing_subword_prefix": source.choice(["##", "@"]), "end_of_word_suffix": source.choice(["</w>", ""])}
    trainer = trainers.BpeTrainer(vocab_size=source.choice([300, 600]), special_tokens=["<unk>", "<s>", "</s>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if source.random() < 0.7 else [], **extras)
    package.train_from_iterator(package_corpus, trainer)
    document = json.loads(package.to_str())
    model = document["model"]
    model["byte_fallback"], model["ignore_merges"] = fallback, source.random() < 0.4
    if fallback:
        for byte in range(256):
            if source.random() < 0.98:
                model["vocab"].setdefault(f"<0x{byte:02X}>", len(model["vocab"]))
    if source.random() < 0.3:  # a pair that is there twice: the last counts
        model["merges"] += source.sample(model["merges"], min(3, len(model["merges"])))
    if source.random() < 0.5:  # the older spelling of merges
        model["merges"] = [m if any(" " in half for half in m) else " ".join(m) for m in map(list, model["merges"])]
        if any(isinstance(m, list) for m in model["merges"]):  # the package wants one spelling
            model["merges"] = [m if isinstance(m, list) else m.split(" ") for m in model["merges"]]
    if source.random() < 0.3:  # tokens that nothing is merged from or to vanish
        needed = {t["content"] for t in document["added_tokens"]}
        for merge in model["merges"]:
            left, right = merge.split(" ") if isinstance(merge, str) else merge
            needed |= {left, right, left + right[len(model["continuing_subword_prefix"] or ""):]}
        model["vocab"] = {t: i for i, t in enumerate(t for t in model["vocab"] if t in needed or source.random() < 0.7)}
        for token in document["added_tokens"]:
            token["id"] = model["vocab"][token["content"]]
    for token in document["added_tokens"]:
        token["normalized"] = source.random() < 0.3
    package = Tokenizer.from_str(json.dumps(document))
    for content in source.sample(SPECIAL + ["ab", "the", " x", "é", "e\u0301", "ﬁ", "Straße", "日本", "  ", "\n", "\n\n", "A", "İ", "▁", "\u0301", "1", ".", "👍🏽"], 6):
        package.add_tokens([AddedToken(content, single_word=source.random() < 0.3, lstrip=source.random() < 0.3, rstrip=source.random() < 0.3,
                                       normalized=source.random() < 0.5, special=source.random() < 0.5)])
    package.post_processor = source.choice([
        processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", package.token_to_id("<s>"))]),
        processors.TemplateProcessing(single="<s> $A </s> $A", pair="$A $B", special_tokens=[("<s>", package.token_to_id("<s>")), ("</s>", package.token_to_id("</s>"))]),
        processors.RobertaProcessing(("</s>", package.token_to_id("</s>")), ("<s>", package.token_to_id("<s>"))),
        processors.Sequence([processors.ByteLevel(), processors.TemplateProcessing(single="$A </s>", pair="$A $B", special_tokens=[("</s>", package.token_to_id("</s>"))])])])
    decoder = random_decoder(source)
    if decoder:
        package.decoder = decoder
    return package


LETTERS = "abcxyzABXséÉſßK019 \t\n\r'._-,½²日本ｶ\u0301\u0903\u3000\u200b\u0085🙂ⅷ٣"


def random_class(source, depth=0):
    items = []
    for _ in range(source.randrange(1, 4)):
        kind = source.randrange(12)
        items.append(r"a-z" if kind == 0 else r"0-9" if kind == 1 else source.choice([r"\s", r"\d", r"\w", r"\h", r"\S", r"\D", r"\W"]) if kind < 4
                     else source.choice([r"\p{L}", r"\p{N}", r"\p{Lu}", r"\p{M}", r"\P{L}", r"\p{^N}", r"\p{Han}", r"\p{P}"]) if kind < 6
                     else random_class(source, depth + 1) if kind < 7 and depth < 2 else r"\n" if kind == 7 else r"\x{301}" if kind == 8 else source.choice("abxAsé1 日._"))
    body = "".join(items)
    if source.random() < 0.15:
        body += "&&" + random_class(source, 2)
    return "[" + ("^" if source.random() < 0.3 else "") + body + "]"


def random_regex(source, depth=0):
    def atom():
        kind = source.randrange(16)
        if kind < 4:
            return source.choice("abxAsé1 日'")
        if kind < 6:
            return source.choice([r"\s", r"\d", r"\w", r"\S", r"\D", r"\W", ".", r"\n", r"\."])
        if kind < 8:
            return source.choice([r"\p{L}", r"\p{N}", r"\p{Lu}", r"\p{M}", r"\P{L}", r"\p{^N}"])
        if kind < 11:
            return random_class(source)
        if kind < 14 and depth < 3:
            return source.choice(["(", "(?:", "(?>", "(?i:", "(?m:", "(?=", "(?!"]) + random_regex(source, depth + 1) + ")"
        if kind == 14:
            return source.choice([r"\b", r"\B", "^", "$", r"\A", r"\z", r"\Z", r"(?<=a)", r"(?<!\s)", r"(?<=\p{L})"])
        return source.choice("abxyz")

    def quantified(a):
        if a in ("^", "$") or a[:2] in (r"\b", r"\B", r"\A", r"\z", r"\Z") or a[:3] in ("(?=", "(?!", "(?<"):
            return a
        return a + source.choice(["", "", "", "*", "+", "?", "*?", "+?", "??", "++", "*+", "{2}", "{1,2}", "{,2}", "{1,}", "{1,2}?"])

    return "|".join("".join(quantified(atom()) for _ in range(source.randrange(1, 4))) for _ in range(source.choice([1, 1, 2, 3])))


def fuzz_patterns(count, seed, file):
    """Random patterns split random texts of a few letters; a letter at a word's end has an id of its own."""
    source = random.Random(seed)
    vocabulary = {}
    for letter in LETTERS:
        vocabulary[letter] = len(vocabulary)
        vocabulary[letter + "</w>"] = len(vocabulary)
    refused = bad = faults = 0
    for _ in range(count):
        pattern = random_regex(source)
        behavior = source.choice(["Isolated", "Removed", "Contiguous"])
        document = {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": False},
                    "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "end_of_word_suffix": "</w>"}}
        open(file, "w").write(json.dumps(document))
        try:
            package = Tokenizer.from_file(file)
        except Exception:
            bad += 1
            continue
        try:
            ours = tokenizer_library.Tokenizer(file)
        except ValueError as refusal:
            refused += 1
            print(f"refused: {str(refusal).split(': ', 4)[-1]}")
            continue
        for _ in range(20):
            text = "".join(source.choice(LETTERS) for _ in range(source.randrange(1, 12)))
            try:
                differs = ours.encode(text) != package.encode(text).ids
            except ValueError:  # the match limit: the pattern backtracks without end
                break
            except BaseException as failure:  # the package's limit
                if type(failure).__name__ != "PanicException":
                    raise
                break
            if differs:
                faults += 1
                text = shortest(text, lambda t: ours.encode(t) != package.encode(t).ids)
                print(f"pattern {json.dumps(pattern, ensure_ascii=False)} {behavior} on {json.dumps(text)}: package {package.encode(text).tokens}, ours {ours.encode(text)}", flush=True)
                break
        ours.close()
    print(f"{count} patterns with 20 texts each: {bad} the package refuses, {refused} more we refuse, {faults} differ")
    return faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", default=os.path.join(tokenizer_library.ROOT, "..", "shared"))
    parser.add_argument("--texts", type=int, default=20000)
    parser.add_argument("--made", type=int, default=300)
    parser.add_argument("--patterns", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    faults = 0
    paths = sorted(glob.glob(f"{options.shared}/data/tokenizers/*/tokenizer.json.gz")) + [f"{options.shared}/data/models/stories260K/tokenizer.json"]
    with tempfile.TemporaryDirectory() as directory:
        file = os.path.join(directory, "tokenizer.json")
        for path in paths if options.texts else []:
            document = (gzip.open if path.endswith(".gz") else open)(path, "rb").read()
            open(file, "wb").write(document)  # alone: tokenizer_config.json is not the package's
            faults += compare_file(path, file, options)
        for name, make in FAMILIES.items() if options.texts else []:
            source = random.Random(options.seed)
            make(FIXED + [random_text(source) for _ in range(300)]).save(file)
            faults += compare_file(name, file, options)
        faults += fuzz_patterns(options.patterns, options.seed, file)
        made = refused = panics = 0
        for number in range(options.made):
            source = random.Random(f"{options.seed} {number}")
            corpus = [random_text(source) for _ in range(120)]
            try:
                random_model(source, corpus).save(file)
                package = Tokenizer.from_file(file)
                ours = tokenizer_library.Tokenizer(file)
                made += 1
                found = compare(f"made {number}", package, ours, 100, options.seed * 1000 + number)
                ours.close()
            except ValueError as refusal:
                refused += 1
                print(f"made {number}: refused: {refusal}")
                continue
            except BaseException as failure:
                if type(failure).__name__ != "PanicException":  # the package's Rust gives up: no answer to compare with
                    raise
                panics += 1
                continue
            if found:
                document = json.loads(package.to_str())
                document["model"] = {k: v for k, v in document["model"].items() if k not in ("vocab", "merges")}
                print(json.dumps(document, ensure_ascii=False)[:3000], flush=True)
            faults += found
        print(f"{made} made tokenizers with 100 texts each, {refused} refused; in {panics} the package panics")
    print(f"{faults} differences")
    sys.exit(1 if faults else 0)


main()
