"""Rows for gpu_check.sh from gmoe-bench's lines.

    gpu_table.py row LINE        the line as a row of the table whose head `gpu_table.py head` prints
    gpu_table.py targets FILE    the figures of the qwen2-7b shape that have a target, from a file of such lines
"""
import json
import sys

PARTS = ("projections", "attention", "router", "feed_forward", "head", "optimizer", "other")
COLUMNS = ("shape", "method", "type", "tokens/s", "ms a step", "of the floor", "forward, of its floor", "GEMM TFLOP/s", "in products",
           "GPU memory, GB", "ms: " + ", ".join(p.replace("_", "-") for p in PARTS))


def forward_share(r):
    """Half of a step's FLOPs, all logits, at the rate of the measured product."""
    return r["forward_tokens_per_s"] * r["flops_per_token"] / 2 / (r["gemm_gflops"] * 1e9)


def row(r):
    parts = ", ".join(f"{r['parts_ms'][p]:.1f}" for p in PARTS)
    return (r["shape"], r["method"], r["dtype"], f"{r['tokens_per_s']:.0f}", f"{r['ms_per_step']:.1f}", f"{r['floor_share']:.1%}",
            f"{forward_share(r):.1%}", f"{r['gemm_gflops'] / 1000:.0f}", f"{r['gemm_share']:.1%}", f"{r['device_memory_bytes'] / 1e9:.1f}", parts)


def targets(lines):
    runs = {r["method"]: r for r in lines if r["shape"] == "qwen2-7b"}
    if "gmoe" in runs:
        yield ("qwen2-7b, gmoe: share of the floor", f"{runs['gmoe']['floor_share']:.1%}", "≥ 80 %")
        yield ("qwen2-7b, gmoe: forward, share of its floor", f"{forward_share(runs['gmoe']):.1%}", "≥ 90 %")
    if {"gmoe", "lora"} <= runs.keys():
        yield ("qwen2-7b: a gmoe step against a lora step", f"{runs['gmoe']['ms_per_step'] / runs['lora']['ms_per_step']:.2f}×", "≤ 1.10×")


def show(*cells):
    print("| " + " | ".join(cells) + " |")


if sys.argv[1:] == ["head"]:
    show(*COLUMNS)
    show(*["---"] * len(COLUMNS))
elif sys.argv[1:2] == ["row"] and len(sys.argv) == 3:
    show(*row(json.loads(sys.argv[2])))
elif sys.argv[1:2] == ["targets"] and len(sys.argv) == 3:
    show("figure", "measured", "target")
    show(*["---"] * 3)
    for cells in targets([json.loads(line) for line in open(sys.argv[2])]):
        show(*cells)
else:
    sys.exit(__doc__)
