"""Train and score with the plain PyTorch method (gmoe_torch.py): the oracle behind the goldens.

    python scripts/oracle/run_torch.py --config FILE --base-model DIR --data-dir DIR \
        --output DIR [--init-adapter FILE.safetensors] [--ties torch] [--parity]

One sample at a time, the whole step one autograd graph; with loss_mean and count_at "micro_batch" (--parity)
each micro_batch_samples samples are a loss of their own, and the step is the mean of these. Writes expected.json, step1.safetensors,
final.safetensors and, without --init-adapter, init/adapter_model.safetensors.
"""
import argparse
import json
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModelForCausalLM

from gmoe_torch import Adapter, RoundedLinear, RouterLosses, load_config

torch.set_num_threads(1)    # tiny matrices: threads only cost, and one gives the same sums every time


class Samples:
    """Token ids and loss-carrying parts of `jsonl` items."""

    def __init__(self, base_dir, train):
        base_dir = pathlib.Path(base_dir)
        self.tokenizer = Tokenizer.from_file(str(base_dir / "tokenizer.json"))
        eos = json.loads((base_dir / "tokenizer_config.json").read_text()).get("eos_token")
        eos = eos["content"] if isinstance(eos, dict) else eos
        self.eos = self.tokenizer.token_to_id(eos)
        self.train = train

    def ids(self, text):
        return self.tokenizer.encode(text).ids

    def split(self, prompt, completion):
        """(ids of both, length of the prompt's part): white space that ends the prompt goes over."""
        return self.ids(prompt + completion), len(self.ids(prompt.rstrip()))

    def training(self, item):
        """(ids, positions whose token carries loss)."""
        ids, prompt = self.split(item["prompt"], item["completion"])
        if self.train["append_eos"]:
            ids = ids + [self.eos]
        assert len(ids) <= self.train["max_length"], "the oracle does not cut samples"
        first = prompt if self.train["loss_on"] == "answer" else 1
        return ids, list(range(max(first, 1), len(ids)))


def read_jsonl(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines() if line.strip()]


# ---------------------------------------------------------------- training and scoring

class Joined(nn.Module):
    """Named linear layers of a module in place of the one matrix that holds their rows (phi3)."""

    def __init__(self, module, names):
        super().__init__()
        self.find = lambda: [getattr(module, name) for name in names]     # whatever stands there later

    def forward(self, x):
        return torch.cat([linear(x) for linear in self.find()], -1)


def separate(module, fused, sizes):
    """module.NAME for each {NAME: rows} of the linear layer module.FUSED, which is computed from these."""
    parts = getattr(module, fused).weight.split(list(sizes.values()))
    for name, weight in zip(sizes, parts, strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        linear.weight = nn.Parameter(weight.clone(), requires_grad=False)
        setattr(module, name, linear)
    setattr(module, fused, Joined(module, list(sizes)))


def separate_all(model):
    c = model.config
    head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    q, kv, f = head * c.num_attention_heads, head * c.num_key_value_heads, c.intermediate_size
    for layer in model.model.layers:
        separate(layer.self_attn, "qkv_proj", {"q_proj": q, "k_proj": kv, "v_proj": kv})
        separate(layer.mlp, "gate_up_proj", {"gate_proj": f, "up_proj": f})


def load_base(base_dir, dtype):
    model = AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32, attn_implementation="eager")
    model.requires_grad_(False).eval()
    if model.config.model_type == "phi3":
        separate_all(model)
    if dtype == "bf16":
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(module, name, RoundedLinear(child))
    return model


def forward(model, ids):
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()


@torch.no_grad()
def score(model, samples, items, scoring):
    """One {"scores", "prediction", "answer"} per item that has choices."""
    out = []
    for item in items:
        tails, prompt = [], None
        for choice in item["choices"]:
            ids, length = samples.split(item["prompt"], choice)
            prompt = ids[:length]
            tails.append(ids[length:])
        if scoring == "label":
            common = 0
            while len({t[common] for t in tails}) == 1:
                common += 1
            logits = forward(model, prompt + tails[0][:common])[-1]
            scores = torch.log_softmax(logits[[t[common] for t in tails]], 0).tolist()
        else:
            scores = []
            for t in tails:
                rows = torch.log_softmax(forward(model, prompt + t), -1)[len(prompt) - 1:-1]
                scores.append(rows.gather(1, torch.tensor(t)[:, None]).sum().item())
        out.append({"scores": scores, "prediction": scores.index(max(scores)), "answer": item["answer"]})
    return out


class Run:
    """One training run from a config; `history` gets one record a step."""

    def __init__(self, config, base_dir, data_dir, init=None, ties="lower"):
        self.config, self.history, self.step1, self.ffns = config, [], {}, []
        self.model = load_base(base_dir, config["dtype"])
        self.samples = Samples(base_dir, config["train"])
        data = pathlib.Path(data_dir)
        self.train, self.test = (read_jsonl(data / f"{split}.jsonl") for split in ("train", "test"))
        self.base_items = self.score()
        self.adapter = Adapter(config, self.model.config, ties)
        if init:
            self.adapter.load(load_file(init))
        else:
            self.adapter.create(torch.Generator().manual_seed(config["seed"]))
        self.ffns = self.adapter.attach(self.model)
        self.losses = RouterLosses(config, self.adapter)
        t = config["train"]
        self.optimizer = torch.optim.AdamW(self.adapter.params.values(), lr=t["learning_rate"],
                                           betas=tuple(t["betas"]), eps=t["eps"], weight_decay=t["weight_decay"])

    def score(self):
        items = score(self.model, self.samples, self.test, self.config["eval"]["scoring"])
        for ffn in self.ffns:
            ffn.take()
        return items

    def margins(self):
        """Least relative gap seen so far: between π's K-th and next largest, between any two."""
        return [min((f.margins[i] for f in self.ffns), default=1.0) for i in (0, 1)]

    def batches(self):
        """File order, wrapping round; an epoch's last batch may be smaller."""
        t = self.config["train"]
        size = t["batch_size"]
        epoch = [self.train[i:i + size] for i in range(0, len(self.train), size)]
        steps = t["max_steps"] or t["epochs"] * len(epoch)
        return [epoch[i % len(epoch)] for i in range(steps)]

    def step_loss(self, batch):
        """(total, {term: value}, all tokens, logits of the loss rows L×V) of a step's samples."""
        t, losses = self.config["train"], self.config["adapter"]["losses"]
        if t["loss_mean"] == "step":
            assert losses["count_at"] == "step", "the oracle has the reference's readings together or not at all"
            return self.batch_loss(batch)
        assert losses["count_at"] == "micro_batch"
        size = t["micro_batch_samples"]
        parts = [self.batch_loss(batch[i:i + size]) for i in range(0, len(batch), size)]
        loss, terms, tokens, rows = zip(*parts)
        mean = lambda values: sum(values) / len(parts)
        return mean(loss), {name: mean([part[name] for part in terms]) for name in terms[0]}, sum(tokens), torch.cat(rows)

    def batch_loss(self, batch):
        """The same of samples whose tokens are all averaged together."""
        rows, labels, tokens = [], [], 0
        for item in batch:
            ids, carrying = self.samples.training(item)
            logits = forward(self.model, ids)
            rows.append(logits[[i - 1 for i in carrying]])
            labels += [ids[i] for i in carrying]
            tokens += len(ids)
        rows = torch.cat(rows)
        terms = {"ce": F.cross_entropy(rows, torch.tensor(labels))}
        if self.ffns:
            terms |= self.losses([ffn.take() for ffn in self.ffns])
        loss = sum(self.config["adapter"]["losses"].get(name, 1.0) * value for name, value in terms.items())
        return loss, terms, tokens, rows

    def step(self, batch):
        params = self.adapter.params
        self.optimizer.zero_grad(set_to_none=True)
        loss, terms, tokens, rows = self.step_loss(batch)
        loss.backward()
        for p in params.values():
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        norm = torch.sqrt(sum((p.grad.double() ** 2).sum() for p in params.values())).item()
        if not self.history:
            self.step1 = {"logits": rows.detach().clone()}
            self.step1 |= {"grad." + name: p.grad.clone().contiguous() for name, p in params.items()}
        self.optimizer.step()
        terms = {name: value.item() for name, value in terms.items()}
        record = {"step": len(self.history) + 1, "loss": loss.item()} | terms
        self.history.append(record | {"grad_norm": norm, "tokens": tokens, "loss_tokens": len(rows)})

    def all(self):
        for batch in self.batches():
            self.step(batch)
        return self

    def expected(self):
        return {"scoring": self.config["eval"]["scoring"], "steps": self.history,
                "base_items": self.base_items, "items": self.score()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("config", "base-model", "data-dir", "output"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--init-adapter")
    parser.add_argument("--ties", choices=("lower", "torch"), default="lower")
    parser.add_argument("--parity", action="store_true", help="the reference program's readings, as gmoe-train --parity")
    args = parser.parse_args()
    torch.manual_seed(0)
    out = pathlib.Path(args.output)
    out.mkdir(parents=True, exist_ok=True)
    run = Run(load_config(args.config, args.parity), args.base_model, args.data_dir, args.init_adapter, args.ties)
    if not args.init_adapter:
        (out / "init").mkdir(exist_ok=True)
        save_file(run.adapter.tensors(), out / "init" / "adapter_model.safetensors")
    run.all()
    (out / "expected.json").write_text(json.dumps(run.expected(), indent=1) + "\n")
    save_file(run.step1, out / "step1.safetensors")
    save_file(run.adapter.tensors(), out / "final.safetensors")


if __name__ == "__main__":
    main()
