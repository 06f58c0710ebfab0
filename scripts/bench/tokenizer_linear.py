#!/usr/bin/env python3
"""Is gmoe's tokenizer linear in the length of the text? Seconds for 1 MB and for 4 MB of one thing over and over and an x, per tokenizer:
those in tests/golden/tokenizer and the shared ones. Linear is a ratio of 4; n log n of the merges and caches that overflow make
it up to 6.
    VENV/bin/python scripts/bench/tokenizer_linear.py [--shared ../shared] [NAME …]
Processor time of one thread, encoding, and decoding of what came out. The exit status tells if a ratio is above 8 (quadratic: 16)."""
import argparse
import glob
import os
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts", "oracle"))
import tokenizer_library

TEXTS = {"letter": "a", "capital": "A", "space": " ", "newline": "\n", "spaces, newlines": "  \n", "digit": "7", "mark ▁": "▁", "punctuation": "!", "emoji": "😀", "joined emoji": "👩‍👩‍👧‍👦", "Han": "日",
         "one mark": "\u0301", "marks to sort": "\u0315\u0300\u0323\u0334", "letter with marks": "e\u0323\u0301", "Hangul letters": "\u1100\u1161\u11a8", "<": "<", "control byte": "\x01",
         "word": "the ", "apostrophes": "'s "}


def seconds(tokenizer, text):
    begin = time.process_time()
    tokenizer.count(text)
    middle = time.process_time()
    tokenizer.decode_counted()
    return middle - begin, time.process_time() - middle


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", default=os.path.join(ROOT, "..", "shared"))
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    paths = {os.path.basename(p)[:-len(".tokenizer.json")]: p for p in sorted(glob.glob(f"{ROOT}/tests/golden/tokenizer/*.tokenizer.json"))}
    paths.update({os.path.basename(os.path.dirname(p)): p for p in sorted(glob.glob(f"{options.shared}/data/*/*/tokenizer.json*"))})
    bad = 0
    for name in options.names or paths:
        tokenizer = tokenizer_library.Tokenizer(paths[name])
        worst = []
        for what, piece in TEXTS.items():
            one, four = [(piece * (size // len(piece.encode())) + "x").encode() for size in (1 << 20, 1 << 22)]
            times = [[min(t) for t in zip(*(seconds(tokenizer, text) for _ in range(rounds)))] for text, rounds in ((one, 2), (four, 1))]
            for i, way in enumerate(("encode", "decode")):
                worst.append((times[1][i] / max(times[0][i], 1e-3), times[1][i], f"{way} {what}"))
        bad += sum(ratio > 8 for ratio, _, _ in worst)
        slowest = max(worst, key=lambda w: w[1])
        print(f"{name:12} largest ratio {max(worst)[0]:4.1f} ({max(worst)[2]}, {max(worst)[1]:.2f} s); slowest 4 MB {slowest[1]:.2f} s ({slowest[2]}, ratio {slowest[0]:.1f})", flush=True)
        for ratio, time_of, what in worst:
            if ratio > 8:
                print(f"    {what}: ratio {ratio:.1f}, {time_of:.2f} s")
        tokenizer.close()
    sys.exit(1 if bad else 0)


main()
