"""Tiny base models, tokenizers and puzzles for the goldens, all drawn from a seed (no program of its own)."""
import json
import random

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Phi3Config, Phi3ForCausalLM,
                          Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

FAMILIES = {"llama": (LlamaConfig, LlamaForCausalLM), "mistral": (MistralConfig, MistralForCausalLM),
            "qwen2": (Qwen2Config, Qwen2ForCausalLM), "qwen3": (Qwen3Config, Qwen3ForCausalLM),
            "phi3": (Phi3Config, Phi3ForCausalLM)}
TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}

SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")


# ---------------------------------------------------------------- puzzles

COLOURS = ["red", "blue", "green", "white", "grey"]
THINGS = ["cup", "ball", "kite", "box", "lamp"]
PLACES = ["under the bed", "on the shelf", "by the door", "in the bag"]


def place_puzzle(draw):
    colours, things, places = draw.sample(COLOURS, 2), draw.sample(THINGS, 2), draw.sample(PLACES, 4)
    named = [f"{c} {t}" for c, t in zip(colours, things)]
    prompt = "".join(f"the {n} is {p}. " for n, p in zip(named, places))
    return f"{prompt}where is the {named[0]}?\nanswer:", [" " + p for p in sorted(places)], " " + places[0]


def sum_puzzle(draw):
    a, b = draw.randint(2, 40), draw.randint(2, 40)
    wrong = draw.sample([n for n in range(2, 90) if n != a + b], 2)
    return f"{a} plus {b} is", [f" {n}" for n in sorted(wrong + [a + b])], f" {a + b}"


def puzzles(seed, count, hang=False):
    """`count` items of the jsonl task; `hang` moves the completions' leading space to the prompt's end."""
    draw, items = random.Random(seed), []
    for _ in range(count):
        prompt, choices, right = draw.choice([place_puzzle, place_puzzle, sum_puzzle])(draw)
        answer = choices.index(right)
        if hang:
            prompt, choices = prompt + " ", [c[1:] for c in choices]
        items.append({"prompt": prompt, "completion": choices[answer], "choices": choices, "answer": answer})
    return items


def write_jsonl(path, items):
    path.write_text("".join(json.dumps(item) + "\n" for item in items))


# ---------------------------------------------------------------- tokenizers

def with_bos(tokenizer, bos):
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, tokenizer.token_to_id(bos))])
    return tokenizer


def byte_level(texts, size, bos, eos, full):
    """Byte-level BPE behind a regex split; `full` has all 256 bytes, else only those in the texts."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=bool(bos)))
    if not bos:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet() if full else []
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=sorted(alphabet), show_progress=False,
                                  special_tokens=[t for t in (bos, eos) if t])
    tokenizer.train_from_iterator(texts, trainer)
    return with_bos(tokenizer, bos)


def byte_fallback(texts, size, bos, eos):
    """SentencePiece-like BPE: ▁ for spaces, unknown characters as <0xNN>."""
    byte_tokens = [f"<0x{b:02X}>" for b in range(256)]
    special = ["<unk>", bos, eos, *byte_tokens]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False))
    raw = json.loads(tokenizer.to_str())        # the bytes are plain vocabulary, not added tokens
    raw["added_tokens"] = [t for t in raw["added_tokens"] if t["content"] not in byte_tokens]
    return with_bos(Tokenizer.from_str(json.dumps(raw)), bos)


def make_tokenizer(kind, texts):
    """(tokenizer, bos or None, eos) of one of four kinds."""
    if kind == "fallback":
        return byte_fallback(texts, 300, "<s>", "</s>"), "<s>", "</s>"
    bos = None if kind.startswith("plain") else "<|begin|>"
    return byte_level(texts, 288 if kind.endswith("full") else 112, bos, "<|end|>", kind.endswith("full")), bos, "<|end|>"


# ---------------------------------------------------------------- base models

def randomise(model, generator):
    """Weights that give lively activations: linear layers ±1/√inputs, norms about 1, biases not 0."""
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        if name.endswith("norm.weight"):
            p.data = 1 + 0.15 * noise
        else:
            p.data = noise * (0.2 if p.dim() == 1 else p.shape[-1] ** -0.5)


def write_base(folder, family, shape, file_type, tokenizer_kind, seed, texts):
    """A Hugging Face model directory with a tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, bos, eos = make_tokenizer(tokenizer_kind, texts)
    ids = {"bos_token_id": tokenizer.token_to_id(bos) if bos else None, "eos_token_id": tokenizer.token_to_id(eos)}
    config_class, model_class = FAMILIES[family]
    model = model_class(config_class(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=512, **ids, **shape))
    randomise(model, torch.Generator().manual_seed(seed))
    model.to(TYPES[file_type]).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    overlay = {"add_bos_token": bool(bos), "add_eos_token": False, "bos_token": bos, "eos_token": eos,
               "clean_up_tokenization_spaces": False, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(overlay, indent=1) + "\n")
