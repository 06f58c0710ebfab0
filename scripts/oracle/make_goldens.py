"""Write tests/golden: tiny models with what the plain PyTorch method gives for them.

    python scripts/oracle/make_goldens.py [--out DIR] [CASE…]

Each case is computed twice, the second time with the initial adapter disturbed by 3e-7 relative; the
table printed says how far that moves the results (! where it comes near the bounds in expected.json).
The bf16 case is compared with its f32 run instead. tests/golden/README.md describes the files.
"""
import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import load_file, save_file

from gmoe_torch import DEFAULTS, PARITY, Adapter, merge
from run_torch import Run, load_base
from tiny_models import puzzles, write_base, write_jsonl

ROOT = pathlib.Path(__file__).resolve().parents[2]

SMALL = {"hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 8}
WIDER = SMALL | {"hidden_size": 40, "intermediate_size": 72, "num_attention_heads": 5, "num_key_value_heads": 1}
del WIDER["head_dim"]

GMOE = {"method": "gmoe",
        "adapter": {"rank": 2, "alpha": 4, "num_experts": 4, "top_k": 2,
                    "router": {"type": "graph", "layers": 2, "hidden_size": 10, "edges": "random", "edge_density": 0.34},
                    "losses": {"divergence": "kl", "poisson": 0.05, "normal": 0.8, "count": "cumulative"}}}
LORA = {"method": "lora", "adapter": {"rank": 2, "alpha": 4}}
TRAIN = {"task": "jsonl", "seed": 1, "dtype": "f32",
         "train": {"epochs": 100, "max_steps": 10, "batch_size": 4, "micro_batch_tokens": 100000, "learning_rate": 0.003,
                   "weight_decay": 0.01, "loss_on": "answer", "shuffle": False, "eval_every": 0, "save_every": 0},
         "eval": {"scoring": "label"}}
BOUND = {"step1": 1e-5, "steps": 1e-3, "normal": 1e-3, "logits": 1e-4, "gradient_each": 1e-4, "gradient_all": 1e-4,
         "scores": 1e-3, "final": 1e-3}
BF16_BOUND = {"step1": 1e-2, "steps": 5e-2, "normal": 0.5, "logits": 5e-2, "gradient_each": 3.0, "gradient_all": 0.25,
              "scores": 0.5, "final": 5e-2}


def without(config, other):
    """config without the keys that other has."""
    return {k: without(v, other[k]) if isinstance(v, dict) and k in other else v for k, v in config.items()
            if k not in other or isinstance(v, dict)}


def case(family="llama", file="bf16", shape=SMALL, tokenizer="bos", method=GMOE, change=None, seed=1, hang=False,
         idle=False, parity=False, **more):
    config = merge(TRAIN, method)
    config = merge(without(config, PARITY) if parity else config, change or {})
    return {"family": family, "file": file, "shape": shape | more, "tokenizer": tokenizer, "config": config,
            "seed": seed, "hang": hang, "idle": idle, "parity": parity}


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}
THREE = {"adapter": {"num_experts": 3, "router": {"edge_density": 0.67, "hidden_size": 8}}}
CASES = {
    "llama-gmoe": case(file="f32"),
    "llama-lora": case(file="f32", tokenizer="fallback", method=LORA, tie_word_embeddings=True,
                       change={"eval": {"scoring": "likelihood"}, "train": {"batch_size": 2}}),
    "qwen2-gmoe": case("qwen2", tokenizer="plain", shape=WIDER, tie_word_embeddings=True, change=THREE),
    "qwen2-lora": case("qwen2", tokenizer="plain-full", shape=WIDER, method=LORA, hang=True, tie_word_embeddings=True),
    "gmoe-variants": case(change={"adapter": {
        "rank": 3, "alpha": 6, "rslora": True, "num_experts": 4, "top_k": 3,
        "router": {"layers": 3, "edge_density": 0.5, "expert_features": "embedding"},
        "losses": {"divergence": "abs", "count": "batch"}}}),
    "mistral-lora": case("mistral", method=LORA, sliding_window=16, change={
        "adapter": {"rank": 4, "alpha": 6, "targets": ["q", "v", "down"]},
        "train": {"loss_on": "all", "batch_size": 2}}),
    "qwen3-gmoe": case("qwen3", tokenizer="plain", head_dim=16, idle=True, change={"adapter": {
        "num_experts": 3, "top_k": 1, "router": {"edge_density": 0.67, "layers": 1}}}),
    "phi3-gmoe": case("phi3", shape=WIDER, sliding_window=24, pad_token_id=0, change=THREE),
    "phi3-lora": case("phi3", file="f16", tokenizer="fallback", shape=WIDER, method=LORA, pad_token_id=0),
    "llama31-gmoe": case(file="f16", rope_scaling=LLAMA3, head_dim=16, num_attention_heads=2, num_key_value_heads=1,
                         tie_word_embeddings=True, change=THREE),
    "llama-joint": case(attention_bias=True, mlp_bias=True, change={"adapter": {
        **THREE["adapter"], "losses": {"normal_target": "joint", "count": "ema", "ema_decay": 0.9}}}),
    "llama-linear": case(rope_scaling={"rope_type": "linear", "factor": 2.0}, change={"adapter": {
        "targets": ["q", "v", "gate", "up", "down"], "router": {"type": "linear"}, "losses": {"balance": 0.02}}}),
    "llama-bf16": case(change=THREE | {"dtype": "bf16"}),
    "llama-micro": case(change={"adapter": {**THREE["adapter"], "losses": {"normal": 0.0}},
                                "train": {"micro_batch_tokens": 40}}),
    # steps of 4, 4, 2 samples in micro-batches of 3, 1, 3, 1, 2
    "llama-parity": case(parity=True, idle=True, change={
        "adapter": {"num_experts": 6, "router": {"hidden_size": 10, "token_gain": 1.0}},
        "train": {"micro_batch_samples": 3}}),
}


# ---------------------------------------------------------------- inputs

def has_twins(edges):
    """Two experts with an edge and the same other neighbours always tie: no golden has them."""
    closed = edges + torch.eye(len(edges))
    return len({tuple(row) for row in closed.tolist()}) < len(edges)


def make_init(adapter, seed):
    """A created adapter with B not 0, a router that decides, λ and σ that differ by layer."""
    generator, scalar, out = torch.Generator().manual_seed(seed), 0, {}
    adapter.create(generator)
    for name, t in adapter.tensors().items():
        if name.endswith("lora_B.weight"):
            t = 0.2 * torch.randn(t.shape, generator=generator)
        elif name.endswith("gate.weight"):
            t = 0.5 * torch.randn(t.shape, generator=generator)
        elif ".gate." in name and t.dim() == 2 and not name.endswith("edges"):
            t = 1.6 * t
        elif t.dim() == 0:
            scalar += 1
            t = t * (1 + 0.07 * scalar)
        out[name] = t.contiguous()
    return out


def write_inputs(folder, c):
    train, test = puzzles(c["seed"], 10, c["hang"]), puzzles(c["seed"] + 100, 5, c["hang"])
    texts = [i["prompt"] + choice for i in puzzles(7, 200) for choice in i["choices"]]
    write_base(folder / "base", c["family"], c["shape"], c["file"], c["tokenizer"], c["seed"], texts)
    write_jsonl(folder / "train.jsonl", train)
    write_jsonl(folder / "test.jsonl", test)
    config = {"base_model": "base", "data_dir": "."} | c["config"]
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    return merge(merge(DEFAULTS, PARITY if c["parity"] else {}), config)


# ---------------------------------------------------------------- results

def relative(a, b):
    return ((a - b).norm() / b.norm().clamp_min(1e-30)).item()


def distance(run, other):
    """How far a finished run is from another, in the terms of the bounds."""
    steps = []
    for a, b in zip(run.history, other.history, strict=True):
        steps.append({k: abs(a[k] - b[k]) / abs(b[k]) for k in a if k not in ("step", "tokens", "loss_tokens")})
    normal = max(s.pop("normal", 0.0) for s in steps)
    gradients = [(run.step1[n], t) for n, t in other.step1.items() if n.startswith("grad.")]
    flat = [torch.cat([pair[i].flatten() for pair in gradients]) for i in (0, 1)]
    finals = zip(run.adapter.tensors().values(), other.adapter.tensors().values())
    items = zip(run.after, other.after)
    return {"step1": max(steps[0].values()), "steps": max(max(s.values()) for s in steps), "normal": normal,
            "logits": relative(run.step1["logits"], other.step1["logits"]),
            "gradient_each": max(relative(*pair) for pair in gradients if pair[1].any()), "gradient_all": relative(*flat),
            "scores": max(abs(x - y) for a, b in items for x, y in zip(a["scores"], b["scores"])),
            "final": max((a - b).abs().max().item() for a, b in finals)}


def finished(config, folder, init):
    run = Run(config, folder / "base", folder, init).all()
    run.after = run.score()
    return run


def fault(run, idle):
    """Why a run is no golden: what it leaves unused, or how near to a tie it comes."""
    if any(has_twins(t) for n, t in run.adapter.frozen.items() if n.endswith("edges")):
        return "twins"
    dead = {n for n, t in run.step1.items() if not t.abs().max() > 0}
    dead -= {n for n in dead if n.endswith("theta") and not run.config["adapter"]["losses"]["normal"]}
    experts = {n for n in dead if ".experts." in n}
    if dead - experts or bool(experts) != idle:
        return f"{len(dead)} zero gradients"
    at_k, anywhere = run.margins()
    return "gaps" if at_k < 1e-5 or anywhere < 2e-7 else None


def first_good(config, folder, c):
    """The initial adapter of the least seed that makes a golden (judged in f32), and its run there."""
    adapter_file = folder / "init" / "adapter_model.safetensors"
    adapter_file.parent.mkdir()
    adapter = Adapter(config, load_base(folder / "base", "f32").config)
    for seed in range(c["seed"], c["seed"] + 1000):
        save_file(make_init(adapter, seed), adapter_file)
        run = Run(merge(config, {"dtype": "f32"}), folder / "base", folder, adapter_file)
        run.step(run.batches()[0])
        if fault(run, c["idle"]):
            continue
        run = finished(merge(config, {"dtype": "f32"}), folder, adapter_file)
        if not fault(run, c["idle"]):
            return run, seed
    raise SystemExit("no seed gives a golden")


def shaken(init, folder):
    """A file of the initial adapter, every trained tensor disturbed by 3e-7."""
    generator = torch.Generator().manual_seed(0)
    fixed = ("edges", "gate.X")
    noise = lambda t: 1 + 3e-7 * torch.randn(t.shape, generator=generator)
    save_file({n: t if n.endswith(fixed) else t * noise(t) for n, t in init.items()}, folder / "shaken.safetensors")
    return folder / "shaken.safetensors"


def json_lines(value):
    """JSON with one line per step and item."""
    rows = lambda v: "[\n " + ",\n ".join(json.dumps(r) for r in v) + "]" if isinstance(v, list) else json.dumps(v)
    return "{\n" + ",\n".join(f"{json.dumps(k)}: {rows(v)}" for k, v in value.items()) + "}\n"


def make(name, c, out):
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    config = write_inputs(folder, c)
    run, seed = first_good(config, folder, c)
    adapter_file = folder / "init" / "adapter_model.safetensors"
    if config["dtype"] == "f32":
        disturbed = shaken(load_file(adapter_file), folder)
        other, bound = finished(config, folder, disturbed), BOUND
        disturbed.unlink()
    else:
        other, bound, run = run, BF16_BOUND, finished(config, folder, adapter_file)
    expected = {"scoring": config["eval"]["scoring"], "bound": bound, "steps": run.history,
                "base_items": run.base_items, "items": run.after}
    if c["parity"]:
        expected = {"parity": True} | expected
    if run.ffns and not config["adapter"]["losses"]["normal"]:
        change = {"adapter": {"losses": {"normal": 0.8}}}
        expected |= {"with_normal": "adapter.losses.normal=0.8",
                     "steps_with_normal": finished(merge(config, change), folder, adapter_file).history}
    (folder / "expected.json").write_text(json_lines(expected))
    save_file(run.step1, folder / "step1.safetensors")
    save_file(run.adapter.tensors(), folder / "final.safetensors")
    moved, files = distance(other, run), [f for f in folder.rglob("*") if f.is_file()]
    for file in files:
        file.chmod(0o644)
    size = sum(f.stat().st_size for f in files)
    shown = " ".join(f"{k} {v:.0e}{'!' if v > bound[k] / 3 else ''}" for k, v in moved.items())
    print(f"{name:14s} {size / 1000:4.0f} KB  seed {seed:3d}  ce {run.history[0]['ce']:.3f} → {run.history[-1]['ce']:.3f}"
          f"  gaps {run.margins()[0]:.0e} {run.margins()[1]:.0e}  moved: {shown}", flush=True)
    return size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "tests" / "golden")
    parser.add_argument("case", nargs="*")
    args = parser.parse_args()
    sizes = [make(name, CASES[name], args.out) for name in args.case or CASES]
    print(f"{sum(sizes) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
