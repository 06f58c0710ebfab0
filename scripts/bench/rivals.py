"""The PyTorch programs that gmoe is compared with; compare_torch.py and compare_gpu.py start this file as their workers.

    python scripts/bench/rivals.py NAME --dtype f32|bf16 [--shape S] [--threads N] [--device cpu|cuda] [--samples N]

NAME: gmoe, gmoe-compiled (the method as a good PyTorch program writes it), gmoe-naive (every expert a feed-forward layer of its
own over its tokens, as in the published programs), peft, peft-compiled (plain LoRA by Hugging Face PEFT), gemm (2048³ products).
Weights are random, the data too, loss on all tokens. Prints one JSON line when warm; then each line "N" on standard input is
answered by one JSON line with the seconds of N further training steps and the peak memory (resident; device) while they ran.

T tokens, D hidden size, F FFN size, N experts, K active, r rank, G router size.
"""
import argparse
import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from shapes import GPU_SHAPES, SHAPES

EXPERTS, ACTIVE, RANK, SCALE, ROUTER, EDGES = 8, 2, 2, 2.0, 128, 3
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def base_model(shape, dtype):
    config = LlamaConfig(
        hidden_size=shape["hidden"], intermediate_size=shape["ffn"], num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"], num_key_value_heads=shape.get("kv", shape["heads"]), vocab_size=shape["vocab"],
        use_cache=False, attn_implementation="sdpa")
    standard = torch.get_default_dtype()
    torch.set_default_dtype(dtype)      # large models are made in their own type
    model = LlamaForCausalLM(config)
    torch.set_default_dtype(standard)
    return model.requires_grad_(False)


class Lora(nn.Module):
    """W x + s·B A x, adapters kept in f32 and used in the base's type."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.a = nn.Parameter(torch.randn(RANK, base.in_features) / base.in_features ** 0.5)
        self.b = nn.Parameter(torch.zeros(base.out_features, RANK))

    def forward(self, x):
        return self.base(x) + F.linear(F.linear(x, self.a.to(x.dtype)), self.b.to(x.dtype)) * SCALE


class GraphRouter(nn.Module):
    """Two graph-convolution layers; what does not depend on the token is computed once."""

    def __init__(self, hidden):
        super().__init__()
        glorot = lambda *shape: nn.Parameter(nn.init.xavier_uniform_(torch.empty(*shape)))
        self.token, self.structure, self.readout = glorot(ROUTER, hidden), glorot(ROUTER, hidden), glorot(1, ROUTER)
        self.convs = nn.ParameterList([glorot(ROUTER, ROUTER) for _ in range(2)])
        self.register_buffer("features", torch.randn(EXPERTS, hidden))
        graph = torch.eye(EXPERTS + 1)
        graph[-1, :] = graph[:, -1] = 1
        for i in range(EDGES):
            graph[i, i + 1] = graph[i + 1, i] = 1
        degree = graph.sum(1).rsqrt()
        self.register_buffer("adjacency", degree[:, None] * graph * degree)

    def forward(self, x):
        token = F.silu(F.linear(x.float(), self.token)) @ self.convs[0].T               # T×G
        expert = F.silu(F.linear(self.features, self.structure)) @ self.convs[0].T      # N×G
        table = self.adjacency[:, :-1] @ expert                                         # (N+1)×G
        y = F.silu(table + self.adjacency[:, -1:] * token[:, None])                     # T×(N+1)×G
        y = F.silu((self.adjacency[:-1] @ y) @ self.convs[1].T)                         # T×N×G
        return torch.softmax((y @ self.readout.T).squeeze(-1), -1)


class GmoeFfn(nn.Module):
    """Shared W1 x and W3 x, all experts' LoRA as one masked product, W2 once; no gather, no loop over experts."""

    def __init__(self, mlp):
        super().__init__()
        self.mlp = mlp
        d, f = mlp.gate_proj.in_features, mlp.gate_proj.out_features
        a = lambda inp: nn.Parameter(torch.randn(EXPERTS * RANK, inp) / inp ** 0.5)
        b = lambda out: nn.Parameter(torch.zeros(EXPERTS * RANK, out))
        self.a1, self.a3, self.a2, self.b1, self.b3, self.b2 = a(d), a(d), a(f), b(f), b(f), b(d)
        self.router = GraphRouter(d)
        self.lamb, self.theta = nn.Parameter(torch.tensor(1.5)), nn.Parameter(torch.tensor(EXPERTS / 2))
        self.losses = None

    def distribution_losses(self, pi, chosen):
        i = torch.arange(1, EXPERTS + 1, dtype=torch.float32, device=pi.device)
        q = torch.softmax(i * torch.log(self.lamb.clamp(1, 2)) - torch.lgamma(i + 1), 0)
        poisson = (q * torch.log(q / (pi.sort(-1, descending=True).values + 1e-16))).sum(-1).mean()
        n = torch.softmax(-0.5 * ((i - 1 - EXPERTS / 2) / self.theta) ** 2, 0).sort(descending=True).values
        count = (pi * chosen).sum(0)
        share = (count / count.sum()).sort(descending=True).values
        return torch.stack([poisson, (n * torch.log(n / (share + 1e-8))).sum()])

    def forward(self, hidden):
        x = hidden.reshape(-1, hidden.shape[-1])
        pi = self.router(x)
        top, index = pi.topk(ACTIVE)
        one_hot = F.one_hot(index, EXPERTS)                                             # T×K×N
        self.losses = self.distribution_losses(pi, one_hot.sum(1))
        gates = (top / top.sum(-1, keepdim=True)).to(x.dtype)
        mask = one_hot.to(x.dtype).repeat_interleave(RANK, -1) * SCALE                  # T×K×Nr
        w = {name: p.to(x.dtype) for name, p in self.named_parameters(recurse=False)}
        h1, h3, u1, u3 = self.mlp.gate_proj(x), self.mlp.up_proj(x), x @ w["a1"].T, x @ w["a3"].T
        inner, low = 0, 0
        for k in range(ACTIVE):
            m, g = mask[:, k], gates[:, k:k + 1]
            a = F.silu(h1 + (u1 * m) @ w["b1"]) * (h3 + (u3 * m) @ w["b3"]) * g
            inner, low = inner + a, low + (a @ w["a2"].T) * m
        return (self.mlp.down_proj(inner) + low @ w["b2"]).reshape(hidden.shape)


class NaiveGmoeFfn(GmoeFfn):
    """Each expert computes the whole feed-forward layer for the tokens that chose it."""

    def forward(self, hidden):
        x = hidden.reshape(-1, hidden.shape[-1])
        pi = self.router(x)
        top, index = pi.topk(ACTIVE)
        self.losses = self.distribution_losses(pi, F.one_hot(index, EXPERTS).sum(1))
        gates, y = (top / top.sum(-1, keepdim=True)).to(x.dtype), torch.zeros_like(x)
        w = {name: p.to(x.dtype) for name, p in self.named_parameters(recurse=False)}
        for e in range(EXPERTS):
            rows, slot = torch.where(index == e)
            if rows.numel() == 0:
                continue
            part, of = x[rows], slice(e * RANK, (e + 1) * RANK)
            branch = lambda base, inp, a, b: base(inp) + inp @ w[a][of].T @ w[b][of] * SCALE
            a = F.silu(branch(self.mlp.gate_proj, part, "a1", "b1")) * branch(self.mlp.up_proj, part, "a3", "b3")
            y = y.index_add(0, rows, branch(self.mlp.down_proj, a, "a2", "b2") * gates[rows, slot, None])
        return y.reshape(hidden.shape)


def gmoe_model(shape, dtype, ffn=GmoeFfn):
    model = base_model(shape, dtype)
    for layer in model.model.layers:
        for name in TARGETS[:4]:
            setattr(layer.self_attn, name, Lora(getattr(layer.self_attn, name)))
        layer.mlp = ffn(layer.mlp)
    return model


def peft_model(shape, dtype):
    from peft import LoraConfig, get_peft_model
    config = LoraConfig(r=RANK, lora_alpha=RANK * SCALE, target_modules=TARGETS, task_type="CAUSAL_LM")
    return get_peft_model(base_model(shape, dtype), config, autocast_adapter_dtype=False)


def loss_of(model, ids):
    logits = model(input_ids=ids).logits[:, :-1].float()
    loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    extra = [m.losses for m in model.modules() if isinstance(m, GmoeFfn)]
    return loss + (torch.stack(extra).mean(0) * torch.tensor([0.005, 8.0], device=loss.device)).sum() if extra else loss


def trainer(name, shape, dtype):
    """A function that takes one training step."""
    make = {"peft": peft_model, "gmoe-naive": lambda *how: gmoe_model(*how, NaiveGmoeFfn)}.get(name.removesuffix("-compiled"), gmoe_model)
    model = make(shape, dtype).train()
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=2e-4, weight_decay=0.01, fused=True)
    ids = torch.randint(0, shape["vocab"], (shape["samples"], shape["length"]))
    forward = torch.compile(loss_of) if name.endswith("-compiled") else loss_of

    def step():
        optimizer.zero_grad(set_to_none=True)
        forward(model, ids).backward()
        optimizer.step()
    return step, sum(p.numel() for p in params)


def gemm(dtype, size=2048):
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    return lambda: a @ b.T


def reset_peak():
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")


def peak_bytes():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM:"))


def wait():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(step):
    wait()
    start = time.perf_counter()
    step()
    wait()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("gmoe", "gmoe-compiled", "gmoe-naive", "peft", "peft-compiled", "gemm"))
    parser.add_argument("--dtype", choices=TYPES, default="f32")
    parser.add_argument("--shape", choices=SHAPES | GPU_SHAPES, default="small-cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--samples", type=int, default=0, help="in place of the shape's")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_default_device(args.device)
    shape = dict((GPU_SHAPES if args.device == "cuda" else SHAPES)[args.shape])
    shape["samples"] = args.samples or shape["samples"]
    global ROUTER
    ROUTER = shape.get("router", 256) if args.device == "cuda" else ROUTER
    if args.threads:
        torch.set_num_threads(args.threads)
    start, trainable = time.perf_counter(), 0
    if args.name == "gemm":
        step = gemm(TYPES[args.dtype])
    else:
        step, trainable = trainer(args.name, shape, TYPES[args.dtype])
    for _ in range(2):
        step()
    warm = time.perf_counter() - start
    print(json.dumps({"warm_seconds": warm, "trainable": trainable, "threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        reset_peak()
        seconds = [timed(step) for _ in range(int(line))]
        device = torch.cuda.max_memory_allocated() if args.device == "cuda" else 0
        print(json.dumps({"seconds": seconds, "peak_rss": peak_bytes(), "peak_device": device}), flush=True)


if __name__ == "__main__":
    main()
