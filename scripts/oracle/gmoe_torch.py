"""The method in plain PyTorch: an adapter on a Hugging Face base model, and its losses.

GMoE, a mixture with a linear router, or plain LoRA, as the design states them and with no thought
for speed: every expert is computed for every token. No program of its own; run_torch.py trains and
scores with it. The adapter's tensors go by the names they have in files.
T tokens, D hidden size, F FFN size, N experts, K active, r rank, G router size.
"""
import copy
import json
import math
import pathlib

import torch
from torch import nn
from transformers.activations import ACT2FN

ATTENTION = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "o_proj"}
FFN = {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}
EXPERT = {"gate": "w1_proj", "up": "w3_proj", "down": "w2_proj"}

DEFAULTS = {
    "method": "gmoe", "dtype": "f32", "seed": 42,
    "adapter": {
        "rank": 2, "alpha": 4, "dropout": 0.0, "targets": [*ATTENTION, *FFN], "rslora": False,
        "num_experts": 8, "top_k": 2,
        "router": {"type": "graph", "layers": 2, "hidden_size": 256, "edges": "random",
                   "edge_density": 0.1, "expert_features": "frozen", "token_gain": 1.0},
        "losses": {"divergence": "kl", "poisson": 0.005, "normal": 8.0, "balance": 0.0,
                   "count": "cumulative", "ema_decay": 0.9, "count_at": "step", "normal_target": "layer"}},
    "train": {"epochs": 5, "max_steps": 0, "batch_size": 16, "micro_batch_samples": 0, "learning_rate": 2e-4,
              "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01, "loss_on": "answer", "loss_mean": "step",
              "append_eos": True, "max_length": 4096},
    "eval": {"scoring": "label"}}


PARITY = {      # the reference program's readings: gmoe-train --parity
    "adapter": {"router": {"hidden_size": 128, "edges": "similarity", "edge_density": 0.25, "token_gain": 100.0},
                "losses": {"divergence": "abs", "count_at": "micro_batch", "normal_target": "joint"}},
    "train": {"micro_batch_samples": 8, "loss_mean": "micro_batch", "loss_on": "all", "append_eos": False}}


def merge(base, over):
    """base with the values of over, key by key, dictionaries merged."""
    out = copy.deepcopy(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merge(out[key], value) if both else value
    return out


def load_config(path, parity=False):
    return merge(merge(DEFAULTS, PARITY if parity else {}), json.loads(pathlib.Path(path).read_text()))


# ---------------------------------------------------------------- adapter

class RoundedProduct(torch.autograd.Function):
    """y = x Wᵀ with both factors of every product rounded to bf16 and sums in f32."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(weight)
        return x.bfloat16().float() @ weight.T

    @staticmethod
    def backward(ctx, dy):
        return dy.bfloat16().float() @ ctx.saved_tensors[0], None


class RoundedLinear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.weight, self.bias = linear.weight.data.bfloat16().float(), linear.bias

    def forward(self, x):
        y = RoundedProduct.apply(x, self.weight)
        return y if self.bias is None else y + self.bias


class LoraLinear(nn.Module):
    """h = W x + s·B A x (A: r×I, B: O×r)."""

    def __init__(self, base, lora):
        super().__init__()
        self.base, self.lora = base, lora

    def forward(self, x):
        return self.base(x) + self.lora(x)


class Lora(nn.Module):
    """s·B A x, or 0 where the linear layer is no target."""

    def __init__(self, params, name, scale):
        super().__init__()
        self.a, self.b = params.get(name + ".lora_A.weight"), params.get(name + ".lora_B.weight")
        self.scale = scale

    def forward(self, x):
        return 0.0 if self.a is None else self.scale * ((x @ self.a.T) @ self.b.T)


class GraphRouter:
    """π = softmax(p·Y^L): graph convolution over N expert nodes and one token node."""

    def __init__(self, tensors, prefix, layers, act):
        self.get = lambda name: tensors[prefix + name]
        self.layers, self.act = layers, act
        self.embedding = prefix + "experts.weight" in tensors
        edges = self.get("edges")
        n = edges.shape[0]
        graph = torch.eye(n + 1)                    # self-loops
        graph[:n, :n] += edges
        graph[n, :n] = graph[:n, n] = 1             # the token node is joined to every expert
        degree = graph.sum(1).rsqrt()
        self.adjacency = degree[:, None] * graph * degree[None, :]

    def __call__(self, x):
        token = self.act(x @ self.get("mlp.weight").T)                                  # T×G
        expert = (self.get("experts.weight") if self.embedding
                  else self.act(self.get("X") @ self.get("mlp_struct.weight").T))       # N×G
        y = torch.cat([expert.expand(len(x), -1, -1), token[:, None]], 1)               # T×(N+1)×G
        for layer in range(self.layers):
            y = self.act(self.adjacency @ y @ self.get(f"convs.{layer}.lin.weight").T)
        return torch.softmax((y[:, :-1] @ self.get("proj.weight").T).squeeze(-1), -1)   # T×N


class LinearRouter:
    def __init__(self, weight):
        self.weight = weight

    def __call__(self, x):
        return torch.softmax(x @ self.weight.T, -1)


def top_k(pi, k, ties="lower"):
    """0/1 mask of the k largest of each row; a tie goes to the lower index, or where torch.topk puts it."""
    pi = pi.detach()
    order = (pi.topk(k) if ties == "torch" else pi.sort(dim=-1, descending=True, stable=True)).indices[:, :k]
    return torch.zeros_like(pi).scatter(1, order, 1.0)


class ExpertFfn(nn.Module):
    """y = Σ_e g_e E_e(x) over the top-K experts; keeps π of every call until taken."""

    def __init__(self, mlp, router, experts, choose, act):
        super().__init__()
        self.mlp, self.router, self.experts, self.choose, self.act = mlp, router, experts, choose, act
        self.seen, self.margins = [], [1.0, 1.0]

    def forward(self, hidden):
        x = hidden.reshape(-1, hidden.shape[-1])
        pi = self.router(x.float())
        self.seen.append(pi)
        mask = self.choose(pi)
        self.watch(pi, mask)
        gates = pi * mask
        gates = gates / gates.sum(1, keepdim=True)
        y = torch.zeros_like(x)
        for e, lora in enumerate(self.experts):
            a = (self.act(self.mlp.gate_proj(x) + lora["gate"](x))
                 * (self.mlp.up_proj(x) + lora["up"](x)))
            out = self.mlp.down_proj(a) + lora["down"](a)
            y = y + gates[:, e:e + 1].to(x.dtype) * out
        return y.reshape(hidden.shape)

    def watch(self, pi, mask):
        order = pi.detach().sort(-1, descending=True).values
        gap = (order[:, :-1] - order[:, 1:]) / order[:, :-1]
        k = int(mask[0].sum())
        least = [gap[:, k - 1].min().item() if k < pi.shape[1] else 1.0, gap.min().item()]
        self.margins = [min(pair) for pair in zip(self.margins, least)]

    def take(self):
        seen, self.seen = self.seen, []
        return torch.cat(seen)


class Adapter:
    """Tensors by their file names: `params` are trained, `frozen` are kept beside them."""

    def __init__(self, config, base_config, ties="lower"):
        self.a, self.method, self.base = config["adapter"], config["method"], base_config
        self.choose = lambda pi: top_k(pi, self.a["top_k"], ties)
        rank, alpha = self.a["rank"], self.a["alpha"]
        self.scale = alpha / math.sqrt(rank) if self.a["rslora"] else alpha / rank
        self.is_moe = self.method != "lora"
        self.params, self.frozen = {}, {}

    def linear_shapes(self):
        c = self.base
        head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
        q, kv = head * c.num_attention_heads, head * c.num_key_value_heads
        d, f = c.hidden_size, c.intermediate_size
        return {"q": (q, d), "k": (kv, d), "v": (kv, d), "o": (d, q),
                "gate": (f, d), "up": (f, d), "down": (d, f)}

    def prefix(self, layer):
        return (f"mixlora.layers.{layer}." if self.is_moe
                else f"base_model.model.model.layers.{layer}.")

    def lora_name(self, layer, target, expert=None):
        if target in ATTENTION:
            return self.prefix(layer) + "self_attn." + ATTENTION[target]
        if expert is None:
            return self.prefix(layer) + "mlp." + FFN[target]
        return self.prefix(layer) + f"experts.{expert}." + EXPERT[target]

    def lora_shapes(self, layer):
        shapes, rank = {}, self.a["rank"]
        for target in self.a["targets"]:
            out, inp = self.linear_shapes()[target]
            per_expert = self.is_moe and target in FFN
            for e in range(self.a["num_experts"]) if per_expert else [None]:
                name = self.lora_name(layer, target, e)
                shapes[name + ".lora_A.weight"] = (rank, inp)
                shapes[name + ".lora_B.weight"] = (out, rank)
        return shapes

    def router_shapes(self, layer):
        """(trained, frozen) shapes of one layer's router."""
        r, losses, n, d = self.a["router"], self.a["losses"], self.a["num_experts"], self.base.hidden_size
        g, gate = r["hidden_size"], self.prefix(layer) + "gate."
        trained, frozen = {}, {}
        if r["type"] == "linear":
            trained[gate + "weight"] = (n, d)
        else:
            trained[gate + "mlp.weight"] = (g, d)
            if r["expert_features"] == "embedding":
                trained[gate + "experts.weight"] = (n, g)
            else:
                trained[gate + "mlp_struct.weight"] = (g, d)
                frozen[gate + "X"] = (n, d)
            for i in range(r["layers"]):
                trained[gate + f"convs.{i}.lin.weight"] = (g, g)
            trained[gate + "proj.weight"] = (1, g)
            frozen[gate + "edges"] = (n, n)
        if losses["poisson"] or r["type"] == "graph":
            trained[gate + "lamb"] = ()
        if losses["normal"] or r["type"] == "graph":
            trained[gate + "theta"] = ()
        return trained, frozen

    def shapes(self):
        trained, frozen = {}, {}
        for layer in range(self.base.num_hidden_layers):
            trained |= self.lora_shapes(layer)
            if self.is_moe:
                t, f = self.router_shapes(layer)
                trained, frozen = trained | t, frozen | f
        return trained, frozen

    def load(self, tensors):
        trained, frozen = self.shapes()
        want = trained | frozen
        have = {name: tuple(t.shape) for name, t in tensors.items()}
        wrong = {n for n in want.keys() | have.keys() if want.get(n) != have.get(n)}
        if wrong:
            raise SystemExit("adapter tensors missing, extra or of another shape: " + ", ".join(sorted(wrong)))
        self.params = {n: nn.Parameter(tensors[n].float().clone()) for n in sorted(trained)}
        self.frozen = {n: tensors[n].float() for n in sorted(frozen)}

    def create(self, generator):
        """A fresh adapter: A Kaiming (a = √5), B zero, the router Glorot, λ 1.5, σ N/2."""
        r, n = self.a["router"], self.a["num_experts"]
        uniform = lambda shape, bound: (torch.rand(shape, generator=generator) * 2 - 1) * bound
        tensors = {}
        for name, shape in (self.shapes()[0] | self.shapes()[1]).items():
            if name.endswith("lora_B.weight"):
                value = torch.zeros(shape)
            elif name.endswith("lora_A.weight"):
                value = uniform(shape, 1 / math.sqrt(shape[1]))
            elif name.endswith("gate.edges") and r["edges"] == "similarity":
                act, gate = ACT2FN[self.base.hidden_act], name.removesuffix("edges")
                value = similar_edges(act(tensors[gate + "X"] @ tensors[gate + "mlp_struct.weight"].T), r["edge_density"])
            elif name.endswith("gate.edges"):
                value = draw_edges(n, r["edges"], r["edge_density"], generator)
            elif name.endswith(("lamb", "theta")):
                value = torch.tensor(1.5 if name.endswith("lamb") else n / 2)
            elif name.endswith("gate.weight"):
                value = torch.randn(shape, generator=generator) * 0.02
            else:
                gain = r["token_gain"] if name.endswith("gate.mlp.weight") else 1.0
                value = uniform(shape, gain * math.sqrt(6 / sum(shape)))
            tensors[name] = value
        self.load(tensors)

    def tensors(self):
        named = {n: p.detach().contiguous().clone() for n, p in self.params.items()}
        return dict(sorted((named | {n: t.clone() for n, t in self.frozen.items()}).items()))

    def attach(self, model):
        """Put the adapter's modules into the base model; gives the expert FFNs, layer by layer."""
        act, everything, ffns = ACT2FN[self.base.hidden_act], self.params | self.frozen, []
        lora = lambda *where: Lora(self.params, self.lora_name(*where), self.scale)
        for i, layer in enumerate(model.model.layers):
            plain = [(layer.self_attn, ATTENTION)] + ([] if self.is_moe else [(layer.mlp, FFN)])
            for module, names in plain:
                for target, name in names.items():
                    setattr(module, name, LoraLinear(getattr(module, name), lora(i, target)))
            if self.is_moe:
                gate, r = self.prefix(i) + "gate.", self.a["router"]
                router = (LinearRouter(self.params[gate + "weight"]) if r["type"] == "linear"
                          else GraphRouter(everything, gate, r["layers"], act))
                experts = [{t: lora(i, t, e) for t in FFN} for e in range(self.a["num_experts"])]
                layer.mlp = ExpertFfn(layer.mlp, router, experts, self.choose, act)
                ffns.append(layer.mlp)
        return ffns


def draw_edges(n, kind, density, generator):
    """N×N symmetric 0/1 without diagonal; `random` draws round(density·N(N−1)/2) pairs."""
    pairs = torch.combinations(torch.arange(n))
    count = {"full": len(pairs), "none": 0, "random": round(density * len(pairs))}[kind]
    edges = torch.zeros(n, n)
    for i, j in pairs[torch.randperm(len(pairs), generator=generator)[:count]].tolist():
        edges[i, j] = edges[j, i] = 1
    return edges


def similar_edges(features, density):
    """The pairs whose |cosine| reaches the highest of 1, 0.99, … that at least density·N² of the N×N reach."""
    unit = features / features.norm(dim=1, keepdim=True)
    cosine, step = (unit @ unit.T).abs().fill_diagonal_(1.0), 0
    while (cosine >= 1 - 0.01 * step).sum() < density * len(features) ** 2:
        step += 1
    return (cosine >= 1 - 0.01 * step).float().fill_diagonal_(0.0)


# ---------------------------------------------------------------- losses

def divergence(target, value, eps, kind):
    ratio = torch.log(target / (value + eps))
    return (target * (ratio.abs() if kind == "abs" else ratio)).sum(-1)


def poisson_loss(pi, lamb, kind):
    """One layer: mean over tokens of D(Poisson(λ) at 1..N, sorted π)."""
    i = torch.arange(1, pi.shape[1] + 1, dtype=torch.float32)
    target = torch.exp(i * torch.log(lamb.clamp(1, 2)) - torch.lgamma(i + 1))
    target = torch.cat([target[:32], target[31:32].expand(max(0, len(target) - 32))])
    target = target / target.sum()
    return divergence(target, pi.sort(-1, descending=True).values, 1e-16, kind).mean()


def normal_loss(counts, theta, kind, joint):
    """counts: layers×N, theta: layers. D(N(N/2, σ) at 0..N−1, activation shares), both sorted."""
    n = counts.shape[1]
    target = torch.distributions.Normal(n / 2, theta[:, None]).log_prob(torch.arange(n).float()).exp()
    target = target / (target.sum() if joint else target.sum(1, keepdim=True))
    share = counts / counts.sum(1, keepdim=True)
    order = lambda t: t.sort(1, descending=True).values
    return divergence(order(target), order(share), 1e-8, kind).mean()


def balance_loss(pi, mask):
    """One layer: N·Σ_e f_e P_e."""
    return pi.shape[1] * (mask.mean(0) * pi.mean(0)).sum()


class RouterLosses:
    def __init__(self, config, adapter):
        self.l, self.k, self.adapter = config["adapter"]["losses"], config["adapter"]["top_k"], adapter
        self.past = None                                                        # layers×N

    def scalars(self, name):
        layers = range(self.adapter.base.num_hidden_layers)
        return torch.stack([self.adapter.params[self.adapter.prefix(i) + "gate." + name] for i in layers])

    def counts(self, pis, masks):
        now = torch.stack([self.k * (pi * mask).sum(0) for pi, mask in zip(pis, masks)])
        if self.l["count"] != "batch" and self.past is not None:
            now = now + self.past * (self.l["ema_decay"] if self.l["count"] == "ema" else 1.0)
        self.past = now.detach()
        return now

    def __call__(self, pis):
        """Terms with a coefficient, by name, before their coefficients."""
        masks, out = [self.adapter.choose(pi) for pi in pis], {}
        if self.l["poisson"]:
            each = [poisson_loss(pi, lamb, self.l["divergence"]) for pi, lamb in zip(pis, self.scalars("lamb"))]
            out["poisson"] = torch.stack(each).mean()
        if self.l["normal"]:
            out["normal"] = normal_loss(self.counts(pis, masks), self.scalars("theta"),
                                        self.l["divergence"], self.l["normal_target"] == "joint")
        if self.l["balance"]:
            out["balance"] = torch.stack([balance_loss(*pm) for pm in zip(pis, masks)]).mean()
        return out
