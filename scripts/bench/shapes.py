"""The shapes that compare_torch.py and rivals.py share; no torch, so that a parent process stays small."""

SHAPES = {"small-cpu": {"hidden": 512, "ffn": 1408, "layers": 8, "heads": 8, "vocab": 32000, "samples": 8, "length": 256},
          "tiny": {"hidden": 64, "ffn": 160, "layers": 2, "heads": 4, "vocab": 512, "samples": 4, "length": 32}}

# As in gmoe-bench.
GPU_SHAPES = {
    "tiny": {"hidden": 64, "ffn": 172, "layers": 4, "heads": 4, "kv": 2, "vocab": 512, "samples": 4, "length": 128, "router": 32},
    "qwen2-0.5b": {"hidden": 896, "ffn": 4864, "layers": 24, "heads": 14, "kv": 2, "vocab": 151936, "samples": 4, "length": 512},
    "qwen2-7b": {"hidden": 3584, "ffn": 18944, "layers": 28, "heads": 28, "kv": 4, "vocab": 152064, "samples": 16, "length": 512},
    "llama3-8b": {"hidden": 4096, "ffn": 14336, "layers": 32, "heads": 32, "kv": 8, "vocab": 128256, "samples": 16, "length": 512},
    "yi-1.5-9b": {"hidden": 4096, "ffn": 11008, "layers": 48, "heads": 32, "kv": 4, "vocab": 64000, "samples": 16, "length": 512},
}


def floor_flop(shape):
    """4·P for one token: forward and backward through the frozen products."""
    s = SHAPES[shape]
    return 4 * (s["layers"] * (4 * s["hidden"] ** 2 + 3 * s["hidden"] * s["ffn"]) + s["hidden"] * s["vocab"])
