"""Check the oracle against a golden that another program wrote.

    python scripts/oracle/check_shared_golden.py [--golden DIR]

DIR defaults to $GMOE_SHARED/golden/llama-gmoe, GMOE_SHARED to ../shared beside the checkout. Step 1
must agree within 1e-5, every step within 1e-3 (relative), the final tensors and scores within 1e-3.
`tokens` there may count the loss tokens only. Experts with the same neighbours and an edge between
them have exactly equal router weights, so ties do occur: --ties torch (the default here) breaks them
as torch.topk does, with which that golden was made; --ties lower is the method's own rule.
"""
import argparse
import json
import os
import pathlib
import sys

from safetensors.torch import load_file

from gmoe_torch import load_config
from run_torch import Run

ROOT = pathlib.Path(__file__).resolve().parents[2]


def relative(a, b):
    return abs(a - b) / max(abs(a), abs(b), 1e-12)


def compare_steps(want, have):
    worst = {}
    for w, h in zip(want, have, strict=True):
        if w["tokens"] not in (h["tokens"], h["loss_tokens"]):
            raise SystemExit(f"step {w['step']}: {w['tokens']} tokens expected, {h['tokens']} seen")
        for key in w.keys() & h.keys() - {"step", "tokens", "loss_tokens"}:
            error = relative(w[key], h[key])
            when = "step 1" if w["step"] == 1 else "steps 2 on"
            worst[when, key] = max(worst.get((when, key), 0.0), error)
    return worst


def compare_items(want, have):
    worst = 0.0
    for w, h in zip(want, have, strict=True):
        worst = max([worst] + [abs(a - b) for a, b in zip(w["scores"], h["scores"], strict=True)])
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = pathlib.Path(os.environ.get("GMOE_SHARED", ROOT.parent / "shared"))
    parser.add_argument("--golden", type=pathlib.Path, default=shared / "golden" / "llama-gmoe")
    parser.add_argument("--ties", choices=("lower", "torch"), default="torch")
    args = parser.parse_args()
    golden = args.golden
    want = json.loads((golden / "expected.json").read_text())
    run = Run(load_config(golden / "config.json", want.get("parity", False)), golden / "base", golden,
              golden / "init" / "adapter_model.safetensors", args.ties).all()
    have, tensors, bad = run.expected(), run.adapter.tensors(), 0

    def report(what, error, bound):
        nonlocal bad
        bad += not error <= bound
        print(f"{what:28s} {error:.2e}  (bound {bound:.0e}){'' if error <= bound else '  FAIL'}")

    for (when, key), error in sorted(compare_steps(want["steps"], have["steps"]).items()):
        report(f"{when}: {key}", error, 1e-5 if when == "step 1" else 1e-3)
    for key in ("base_items", "items"):
        report(key + " scores", compare_items(want[key], have[key]), 1e-5 if key == "base_items" else 1e-3)
    final = load_file(golden / "final.safetensors")
    if final.keys() != tensors.keys():
        raise SystemExit("final tensors differ by name: " + ", ".join(sorted(final.keys() ^ tensors.keys())))
    report("final tensors, max abs", max((final[n] - tensors[n]).abs().max().item() for n in final), 1e-3)
    print("least gap at top-K {:.2e}, anywhere {:.2e}".format(*run.margins()))
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
