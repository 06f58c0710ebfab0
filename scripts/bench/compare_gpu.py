"""gmoe-bench beside PyTorch on one GPU, one program after the other in one run.

    python scripts/bench/compare_gpu.py [--shape qwen2-7b] [--rivals peft,gmoe-naive,gmoe] [--steps 6] [--bench build/bin/gmoe-bench]
        [--ours LINES] [--json FILE] [--seconds 240]

--ours: lines of gmoe-bench, measured on this GPU just before, in place of new ones. Prints a Markdown table, each row when it is
known; --seconds bounds the whole. Rivals (rivals.py): peft: PEFT plain LoRA with SDPA; gmoe-naive: every expert is a feed-forward
layer of its own over the tokens that chose it, as the published programs are; gmoe: the method as a good PyTorch program writes it.
bf16, loss on all tokens. A rival that does not fit the memory takes half the samples, until it does.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import time

from shapes import GPU_SHAPES

HERE = pathlib.Path(__file__).resolve().parent
START = 20  # seconds that a rival needs at least
TARGETS = {"peft": "≥ 1.3×", "gmoe-naive": "≥ 4×"}


def ours(method, args):
    """gmoe-bench's line."""
    wanted = {"shape": args.shape, "method": method, "dtype": "bf16", "device": "cuda"}
    for line in map(json.loads, args.ours.read_text().splitlines() if args.ours else []):
        if wanted.items() <= line.items():
            return line
    command = [str(args.bench), "--shape", args.shape, "--method", method, "--dtype", "bf16", "--device", "cuda", "--steps", str(args.steps)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"gmoe-bench {method}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def rival(name, args, end):
    """{"tokens_per_s", "tokens", "peak_bytes"}, or {"failed": why}."""
    samples = GPU_SHAPES[args.shape]["samples"]
    while samples:
        if end - time.monotonic() < START:
            return {"failed": "NOT DONE: out of time"}
        command = [sys.executable, str(HERE / "rivals.py"), name, "--dtype", "bf16", "--shape", args.shape, "--device", "cuda",
                   "--samples", str(samples)]
        try:
            done = subprocess.run(command, input=f"{args.steps}\n", capture_output=True, text=True,
                                  timeout=end - time.monotonic())
        except subprocess.TimeoutExpired:
            return {"failed": "NOT DONE: no end, out of time"}
        lines = done.stdout.strip().splitlines()
        if done.returncode == 0 and len(lines) == 2:
            got, tokens = json.loads(lines[1]), samples * GPU_SHAPES[args.shape]["length"]
            median = sorted(got["seconds"])[len(got["seconds"]) // 2]
            return {"tokens_per_s": tokens / median, "tokens": tokens, "peak_bytes": got["peak_device"]}
        if "OutOfMemoryError" not in done.stderr:
            return {"failed": "NOT DONE: " + (done.stderr.strip().splitlines() or ["no output"])[-1][:200]}
        samples //= 2
    return {"failed": "out of memory"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=GPU_SHAPES, default="qwen2-7b")
    parser.add_argument("--rivals", default="peft,gmoe-naive,gmoe")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--bench", type=pathlib.Path, default=HERE.parents[1] / "build" / "bin" / "gmoe-bench")
    parser.add_argument("--ours", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    end = time.monotonic() + args.seconds
    record = {"shape": args.shape, "ours": {m: ours(m, args) for m in ("gmoe", "lora")}, "rivals": {}}
    speed = record["ours"]["gmoe"]["tokens_per_s"]
    print("| program | tokens/s | tokens a step | GPU memory, GB | our gmoe / it | target |\n| --- | --- | --- | --- | --- | --- |")
    for method, r in record["ours"].items():
        print(f"| gmoe-bench {method} | {r['tokens_per_s']:.0f} | {r['tokens']} | {r['device_memory_bytes'] / 1e9:.1f} | | |", flush=True)
    for name in args.rivals.split(","):
        r = record["rivals"][name] = rival(name, args, end)
        numbers = f"{r['failed']} | | | " if "failed" in r else (
            f"{r['tokens_per_s']:.0f} | {r['tokens']} | {r['peak_bytes'] / 1e9:.1f} | {speed / r['tokens_per_s']:.2f}×")
        print(f"| PyTorch {name} | {numbers} | {TARGETS.get(name, '')} |", flush=True)
        if args.json:
            args.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
