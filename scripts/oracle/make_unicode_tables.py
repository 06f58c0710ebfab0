#!/usr/bin/env python3
"""Writes src/io/tokenizer/unicode_tables.c: what the `tokenizers` package knows of Unicode, asked of the package itself.

The package mixes five libraries with five versions of Unicode (normalisation 9, punctuation 8, regular expressions 16,
character methods 17), and the system's PCRE2 and utf8proc have a version of their own, so that equal ids on every machine
need tables. Run with the Python that has tokenizers; its unicodedata must be 14.0 (Python 3.11), the oldest that PCRE2
10.40 and utf8proc 2.8 are behind:
    VENV/bin/python scripts/oracle/make_unicode_tables.py src/io/tokenizer/unicode_tables.c
"""
import sys
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cf Co".split()


def ranges(codes):
    found = []
    for code in sorted(codes):
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def matched(pre_tokenizer):
    """Codes that stand alone or vanish when they follow a snowman, which no class here holds."""
    return {c for c in CODES if [s for s, _ in pre_tokenizer.pre_tokenize_str("☃" + chr(c) + "☃")] != ["☃" + chr(c) + "☃"]}


def regex_category(name):
    pattern = pre_tokenizers.Split(Regex(r"\p{%s}" % name), "removed", False)
    codes = set()
    for begin in range(0, len(CODES), 4096):
        chunk = CODES[begin:begin + 4096]
        kept = set()
        for _, (first, last) in pattern.pre_tokenize_str("".join(map(chr, chunk))):
            kept.update(chunk[first:last])
        codes.update(set(chunk) - kept)
    return codes


def added_since_14():
    found = []
    for name in CATEGORIES:
        new = {c for c in regex_category(name) if unicodedata.category(chr(c)) == "Cn"}
        found += [(first, last, name) for first, last in ranges(new)]
    return sorted(found)


def not_normalized(added):
    """Codes of Unicode 14 that the package's older tables leave alone."""
    forms = [(n, getattr(normalizers, n)()) for n in ("NFC", "NFD", "NFKC", "NFKD")]
    late = {c for first, last, _ in added for c in range(first, last + 1)}
    codes = set()
    for code in CODES:
        char = chr(code)
        if code in late:
            continue
        differs = any(form.normalize_str(char) != unicodedata.normalize(name, char) for name, form in forms)
        rank = unicodedata.combining(char)
        if unicodedata.normalize("NFD", char) == char and code not in (0x334, 0x345):
            nfd = forms[1][1]  # U+0334 has class 1 and U+0345 class 240: whether they change places tells of char's class
            differs |= nfd.normalize_str("x" + char + "\u0334").startswith("x\u0334") != (rank > 1)
            differs |= nfd.normalize_str("x\u0345" + char).endswith("\u0345") != (0 < rank < 240)
        if differs:
            codes.add(code)
    if 0x11938 in codes:
        codes.add(0x11930)  # its second half must not compose either
    return codes


def lower(added):
    """Simple lower-case mappings that Unicode 14 lacks, as (first, last, step, difference)."""
    form, found = normalizers.Lowercase(), []
    for code in CODES:
        result = form.normalize_str(chr(code))
        if result == chr(code).lower() or code == 0x130:  # U+0130 has two: in the code
            continue
        assert len(result) == 1, hex(code)
        difference = ord(result) - code
        last = found[-1] if found else None
        if last and last[1] == code - 1 and last[2] == difference:
            last[1] = code
        else:
            found.append([code, code, difference])
    return found


def write_ranges(out, name, comment, found):
    out.append(f"\n/* {comment} */\nconst gm_code_range gm_unicode_{name}[] = {{")
    cells = [f"{{0x{a:x}, 0x{b:x}}}" for a, b in found]
    for i in range(0, len(cells), 7):
        out.append("    " + ", ".join(cells[i:i + 7]) + ",")
    out.append(f"}};\nconst size_t gm_unicode_{name}_count = sizeof gm_unicode_{name} / sizeof *gm_unicode_{name};")


def main():
    assert unicodedata.unidata_version == "14.0.0", unicodedata.unidata_version
    added = added_since_14()
    out = [f"/* Written by scripts/oracle/make_unicode_tables.py with tokenizers {tokenizers.__version__}: not by hand. */",
           '#include "io/tokenizer/unicode_tables.h"']
    spaces = matched(pre_tokenizers.WhitespaceSplit())
    words = matched(pre_tokenizers.Whitespace()) - spaces
    write_ranges(out, "space", "White_Space", ranges(spaces))
    write_ranges(out, "numeric", "Nd, Nl, No", ranges(matched(pre_tokenizers.Digits(False))))
    write_ranges(out, "punctuation", "P of Unicode 8 and ASCII's", ranges(matched(pre_tokenizers.Punctuation())))
    write_ranges(out, "word", "Alphabetic, M, Nd, Pc, Join_Control", ranges(words))
    strip = normalizers.StripAccents()
    write_ranges(out, "mark", "M of Unicode 9", ranges(c for c in CODES if not strip.normalize_str(chr(c))))
    write_ranges(out, "unnormalized", "later than the normaliser's Unicode 9, or changed since", ranges(not_normalized(added)))
    out.append("\n/* assigned after Unicode 14 */\nconst gm_added_range gm_unicode_added[] = {")
    cells = [f'{{0x{a:x}, 0x{b:x}, "{name}"}}' for a, b, name in added]
    for i in range(0, len(cells), 5):
        out.append("    " + ", ".join(cells[i:i + 5]) + ",")
    out.append("};\nconst size_t gm_unicode_added_count = sizeof gm_unicode_added / sizeof *gm_unicode_added;")
    out.append("\n/* lower case that Unicode 14 lacks */\nconst gm_lower_range gm_unicode_lower[] = {")
    cells = [f"{{0x{a:x}, 0x{b:x}, {d}}}" for a, b, d in lower(added)]
    for i in range(0, len(cells), 5):
        out.append("    " + ", ".join(cells[i:i + 5]) + ",")
    out.append("};\nconst size_t gm_unicode_lower_count = sizeof gm_unicode_lower / sizeof *gm_unicode_lower;")
    with open(sys.argv[1], "w") as file:
        file.write("\n".join(out) + "\n")


main()
