#!/usr/bin/env python3
"""gmoe's tokenizer against the `tokenizers` package on a whole data set, on one thread and on two.
    VENV/bin/python scripts/bench/compare_tokenizers.py [--shared ../shared] [--rounds 5]
Both are called from Python with the same list of texts and special tokens, and keep their results on their own side: the
package's faster call (encode_batch_fast, without offsets) on RAYON_NUM_THREADS threads, ours on OpenMP's, the way the trainer
encodes a data set. Every round measures both, one after the other; elapsed time, the best of the rounds; the ids are
compared. A number of threads has a process of its own. Opening is measured from the file on disk, gzip included."""
import argparse
import gzip
import json
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts", "oracle"))
NAMES = ("gpt2", "llama2", "llama3", "qwen2.5")


def timed(function):
    begin = time.perf_counter()
    result = function()
    return time.perf_counter() - begin, result


def read(path):
    return gzip.open(path).read() if path.endswith(".gz") else open(path, "rb").read()


def boolq(shared):
    directory = f"{shared}/data/datasets/BoolQ"
    path = next(os.path.join(directory, name) for name in sorted(os.listdir(directory)) if name.startswith("train"))
    for line in read(path).decode().splitlines():
        row = json.loads(line)
        yield f"{row['passage']}\n{row['question']}?"


def measure(name, path, texts, rounds, threads):
    import tokenizers
    import tokenizer_library
    opening = lambda: tokenizers.Tokenizer.from_str(read(path).decode())
    package_open, package = min((timed(opening) for _ in range(2)), key=lambda t: t[0])
    ours_open, ours = min((timed(lambda: tokenizer_library.Tokenizer(path)) for _ in range(2)), key=lambda t: t[0])
    best_package = best_ours = float("inf")
    for _ in range(rounds):
        seconds, encodings = timed(lambda: package.encode_batch_fast(texts))
        best_package = min(best_package, seconds)
        seconds, ids = timed(lambda: ours.encode_batch(texts, threads))
        best_ours = min(best_ours, seconds)
    assert all(e.ids == ids(i) for i, e in enumerate(encodings)), f"{name}: ids differ"
    return {"package": best_package, "ours": best_ours, "package_open": package_open, "ours_open": ours_open, "tokens": sum(len(e.ids) for e in encodings)}


def child(options, threads):
    """In a process of its own, which sets the package's threads before it is loaded."""
    environment = dict(os.environ, TOKENIZERS_PARALLELISM="true" if threads > 1 else "false", RAYON_NUM_THREADS=str(threads), OMP_WAIT_POLICY="passive")
    command = [sys.executable, os.path.abspath(__file__), "--shared", options.shared, "--rounds", str(options.rounds), "--threads", str(threads)]
    return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", default=os.path.join(ROOT, "..", "shared"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    texts = list(boolq(options.shared))
    if options.threads:
        found = {name: measure(name, f"{options.shared}/data/tokenizers/{name}/tokenizer.json.gz", texts, options.rounds, options.threads) for name in NAMES}
        print(json.dumps(found))
        return
    one, two = child(options, 1), child(options, 2)
    megabytes = sum(len(t.encode()) for t in texts) / 1e6
    print(f"BoolQ train, {len(texts)} texts, {megabytes:.1f} MB; MB/s, and how many times the package's speed; ×2: two threads over one\n"
          "                   ------- one thread -------  ------------ two threads ------------  ------- opening -------\n"
          "name        tokens  package     ours    ratio  package    ×2     ours    ×2    ratio  package ms  ours ms  ratio")
    for name in NAMES:
        a, b = one[name], two[name]
        speed = lambda run, who: megabytes / run[who]
        print(f"{name:8} {a['tokens']:9} {speed(a, 'package'):8.1f} {speed(a, 'ours'):8.1f} {a['package'] / a['ours']:8.2f} {speed(b, 'package'):8.1f} {a['package'] / b['package']:5.2f} "
              f"{speed(b, 'ours'):8.1f} {a['ours'] / b['ours']:5.2f} {b['package'] / b['ours']:8.2f} {a['package_open'] * 1e3:11.0f} {a['ours_open'] * 1e3:8.0f} {a['package_open'] / a['ours_open']:6.2f}")


main()
