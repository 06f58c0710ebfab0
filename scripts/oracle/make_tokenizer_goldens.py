#!/usr/bin/env python3
"""Writes tests/golden/tokenizer/: texts, five small tokenizers made here and one for each of tokenizer_families.py, and what the
`tokenizers` package makes of the texts with each of them and with the shared tokenizers (which stay where they are).
    VENV/bin/python scripts/oracle/make_tokenizer_goldens.py [--shared ../shared] [--output tests/golden/tokenizer]

texts.jsonl       {"text": …} a line
NAME.jsonl        {"file": …, "front": [ids], "back": [ids], "every": N}: the tokenizer, what goes around a text with special
                  tokens, and, where not all, which texts: the first, the one N lines on …; then a line for each of them: {"ids": […]}, with "plain": […] where special tokens as plain text differ and
                  "decoded": … where ids without special tokens decode to something else than the text
NAME.tokenizer.json   a tokenizer made here"""
import argparse
import collections
import gzip
import json
import os
import random

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tokenizers
from tokenizers import Tokenizer, pre_tokenizers

from tokenizer_families import CL100K, FAMILIES
from tokenizer_texts import FIXED, texts

SHARED = {"gpt2": "data/tokenizers/gpt2/tokenizer.json.gz", "llama2": "data/tokenizers/llama2/tokenizer.json.gz",
          "llama3": "data/tokenizers/llama3/tokenizer.json.gz", "qwen2.5": "data/tokenizers/qwen2.5/tokenizer.json.gz",
          "stories260K": "data/models/stories260K/tokenizer.json"}

# What once differed, or could: found by fuzz_tokenizers.py.
FOUND = ["\tits this", "_its", "s t s  this", " \nthis", "2 \u2603 \u2603 s", "Zits",
         "\u2603 ", "\ue99d \u05b0 \u051c", "▁½", "½ x²", "\u0301\u093c", "…", "\u0f71\u0334 7 1e-9", "\u0301the", "a  b", " \u0f72\u0f71", "4\u0435 日本",
         "<s>  <s> </s>x</s> </s>", "the<|endoftext|>the", "\U00011935\U00011930", "e\u0334\u0898\u0301", "\u1ac4\u0300", "   ab   ab x ab", "\ufdfa ab"]


def train(words, alphabet, merges):
    """Plain byte-pair training: the most frequent pair, of equal ones the first by text."""
    counts = collections.Counter(tuple(w) for w in words)
    vocabulary = list(alphabet)
    made = []
    while len(made) < merges:
        pairs = collections.Counter()
        for word, count in counts.items():
            for pair in zip(word, word[1:]):
                if all(s in vocabulary for s in pair):
                    pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        made.append(best)
        if "".join(best) not in vocabulary:
            vocabulary.append("".join(best))
        merged = collections.Counter()
        for word, count in counts.items():
            out, at = [], 0
            while at < len(word):
                step = 2 if word[at:at + 2] == best else 1
                out.append("".join(word[at:at + step]))
                at += step
            merged[tuple(out)] += count
        counts = merged
    return vocabulary, made


def added(id, content, **flags):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False, **flags}


def template(vocabulary, front):
    return {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": front, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {front: {"id": front, "ids": [vocabulary[front]], "tokens": [front]}}}


def document(tokens, merges, model, **parts):
    vocabulary = {token: id for id, token in enumerate(tokens)}
    assert len(vocabulary) == len(tokens)
    return vocabulary, {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None,
                        "post_processor": None, "decoder": None, **parts, "model": {"type": "BPE", **model, "vocab": vocabulary, "merges": merges}}


def made_bytes(corpus):
    """Like Llama 3 and Qwen: NFC, a pattern, bytes, whole words before merges, merges as pairs."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = [w for t in corpus for w, _ in byte_level.pre_tokenize_str(t)]
    tokens, merges = train(words, sorted(pre_tokenizers.ByteLevel.alphabet()), 300)
    tokens += ["Ġmixture", "Ġexpert"]  # reached by no merge: only whole words become these
    vocabulary, made = document(
        tokens, [list(m) for m in merges], {"unk_token": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": True}, normalizer={"type": "NFC"},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": CL100K}, "behavior": "Isolated", "invert": False},
                                                             {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
        decoder={"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True})
    made["added_tokens"] = [added(len(tokens) + i, c, special=s) for i, (c, s) in enumerate([("<|begin_of_text|>", True), ("<|eot_id|>", True), ("<tool_call>", False)])]
    special = {"<|begin_of_text|>": len(tokens)}
    made["post_processor"] = {"type": "Sequence", "processors": [{"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
                                                                 template(special, "<|begin_of_text|>")]}
    return made


def made_marks(corpus):
    """Like Llama 2: ▁ for spaces, byte fallback, merges as text."""
    words = [w for t in corpus for w in ("▁" + t.replace(" ", "▁▁").replace("▁▁", " ▁").replace(" ", "")).replace("▁", " ▁").split(" ") if len(w) > 1]
    letters = collections.Counter(c for w in words for c in w if c.isprintable())
    tokens, merges = train(words, ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + sorted(c for c, n in letters.items() if n > 6), 250)
    tokens += [token for token in ("▁▁", "▁▁▁▁") if token not in tokens]
    merges += [("▁", "▁"), ("▁▁", "▁▁")]
    vocabulary, made = document(
        tokens, [" ".join(m) for m in merges], {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True},
        normalizer={"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        decoder={"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
                                                  {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})
    made["added_tokens"] = [added(0, "<unk>", special=True, normalized=True), added(1, "<s>", special=True), added(2, "</s>", special=True, lstrip=True, rstrip=True)]
    made["post_processor"] = template(vocabulary, "<s>")
    return made


def made_mixed(corpus):
    """The other components: tokens with every flag, a mark before the first word only, unknowns that do not fuse, an end-of-word suffix."""
    words = [tuple(w[:-1]) + (w[-1] + "</w>",) for t in corpus for w in t.lower().split()]
    letters = collections.Counter(c for w in words for c in w)
    alphabet = {c for c, n in letters.items() if n > 3 and c.isprintable()} | {"▁", "1", "1</w>"}
    tokens, merges = train(words, ["[unk]"] + sorted(alphabet), 200)
    vocabulary, made = document(
        tokens, [" ".join(m) for m in merges], {"unk_token": "[unk]", "fuse_unk": False, "byte_fallback": False, "continuing_subword_prefix": "", "end_of_word_suffix": "</w>"},
        normalizer={"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "Lowercase"}, {"type": "Replace", "pattern": {"Regex": r"[\p{M}&&[^\x{301}]]+"}, "content": ""},
                                                        {"type": "Strip", "strip_left": False, "strip_right": True}]},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, {"type": "Punctuation", "behavior": "MergedWithPrevious"},
                                                             {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}]},
        decoder={"type": "Sequence", "decoders": [{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}, {"type": "BPEDecoder", "suffix": "</w>"}]})
    made["added_tokens"] = [added(0, "[unk]", special=True), added(len(tokens), "<s>", lstrip=True, rstrip=True, special=True), added(len(tokens) + 1, "AB", normalized=True, single_word=True),
                            added(len(tokens) + 2, " x", normalized=True, rstrip=True), added(len(tokens) + 3, "日本", normalized=True, special=True), added(len(tokens) + 4, "<|end"), added(len(tokens) + 5, "<|endoftext|>", lstrip=True)]
    made["post_processor"] = {"type": "RobertaProcessing", "sep": ["<s>", len(tokens)], "cls": ["[unk]", 0], "trim_offsets": True, "add_prefix_space": True}
    return made


def made_holes(corpus):
    """A vocabulary that lacks most characters and has no unknown token: they vanish, and their neighbours meet."""
    tokens = list("▁abcdehilmnorst") + ["<0x41>", "##s", "@@"]
    merges = [("▁", "▁"), ("a", "b"), ("▁", "t"), ("▁t", "h"), ("▁th", "e"), ("▁", "▁t"), ("e", "r"), ("▁", "▁"), ("h", "e")]
    tokens += sorted({"".join(m) for m in merges})
    vocabulary, made = document(
        tokens, [" ".join(m) for m in merges], {"unk_token": None, "fuse_unk": False, "byte_fallback": True},
        normalizer={"type": "Replace", "pattern": {"Regex": r"\s"}, "content": "▁"},
        pre_tokenizer={"type": "Split", "pattern": {"Regex": r"\w+|[^\w\s]+"}, "behavior": "MergedWithNext", "invert": True})
    made["decoder"] = None
    return made


def made_crossing(corpus):
    """A pair that joins a letter and the ▁ after it, so that words do not fall apart there; what stands first in the text counts."""
    tokens = ["<unk>"] + list("▁_abcdehilmnorst0123456789") + ["s▁", "▁t", "s▁t", "▁▁"]
    vocabulary, made = document(
        tokens, ["s ▁", "▁ t", "s▁ t", "▁ ▁"], {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": False},
        normalizer={"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"Regex": r"[\t\n]"}, "content": "_"},
                                                        {"type": "Replace", "pattern": {"Regex": "[A-Z]"}, "content": "a"}, {"type": "Strip", "strip_left": True, "strip_right": False}]},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"String": "_"}, "behavior": "Removed", "invert": False},
                                                             {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}]},
        decoder={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False})
    return made


def write(path, lines):
    with open(path, "w") as file:
        file.writelines(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)


def golden(package, name, all_texts, every=1):
    front, back = [], []
    around = package.encode("", add_special_tokens=True).ids
    bare = package.encode("a", add_special_tokens=False).ids
    whole = package.encode("a", add_special_tokens=True).ids
    at = next(i for i in range(len(whole) + 1) if whole[i:i + len(bare)] == bare and len(around) == len(whole) - len(bare))
    front, back = whole[:at], whole[at + len(bare):]
    yield {"file": name, "front": front, "back": back, **({"every": every} if every > 1 else {})}
    for text in all_texts[::every]:
        package.encode_special_tokens = False
        line = {"ids": package.encode(text, add_special_tokens=False).ids}
        assert package.encode(text, add_special_tokens=True).ids == front + line["ids"] + back
        decoded = package.decode(line["ids"], skip_special_tokens=True) if line["ids"] else ""
        package.encode_special_tokens = True
        plain = package.encode(text, add_special_tokens=False).ids
        if plain != line["ids"]:
            line["plain"] = plain
        if decoded != text:
            line["decoded"] = decoded
        yield line


def main():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", default=os.path.join(root, "..", "shared"))
    parser.add_argument("--output", default=os.path.join(root, "tests", "golden", "tokenizer"))
    options = parser.parse_args()
    os.makedirs(options.output, exist_ok=True)
    corpus = FIXED + texts(random.Random(7), len(FIXED) + 400)
    all_texts = FOUND + texts(random.Random(11), 360)
    write(f"{options.output}/texts.jsonl", [{"text": t} for t in all_texts])
    for name, make in (("bytes", made_bytes), ("marks", made_marks), ("mixed", made_mixed), ("holes", made_holes), ("crossing", made_crossing)):
        file = f"{name}.tokenizer.json"
        write(f"{options.output}/{file}", [make(corpus)])
        package = Tokenizer.from_file(f"{options.output}/{file}")
        write(f"{options.output}/{name}.jsonl", golden(package, file, all_texts))
    corpus += open(f"{root}/LICENSE").read().split("\n")
    for name, make in FAMILIES.items():
        file = f"{name}.tokenizer.json"
        write(f"{options.output}/{file}", [json.loads(make(corpus).to_str())])
        write(f"{options.output}/{name}.jsonl", golden(Tokenizer.from_file(f"{options.output}/{file}"), file, all_texts, 3))
    for name, path in SHARED.items():
        data = open(f"{options.shared}/{path}", "rb").read()
        package = Tokenizer.from_str((gzip.decompress(data) if path.endswith(".gz") else data).decode())
        write(f"{options.output}/{name}.jsonl", golden(package, path, all_texts))
    print(f"tokenizers {tokenizers.__version__}: {len(all_texts)} texts")


main()
