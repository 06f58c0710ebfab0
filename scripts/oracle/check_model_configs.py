#!/usr/bin/env python3
"""Holds the tables `accepted` and `published` of tests/unit/test_model_config.c against transformers' configuration classes:
what each config.json there means is the line beside it.

    pip install -r scripts/requirements.txt
    python scripts/oracle/check_model_configs.py
"""

import json
import logging
import pathlib
import re
import sys
import tempfile

from transformers import AutoConfig

TEST = pathlib.Path(__file__).resolve().parents[2] / "tests/unit/test_model_config.c"
STRING = r'"((?:\\.|[^"\\])*)"'
SMALL = '"vocab_size":100,"hidden_size":64,"intermediate_size":96,"num_hidden_layers":4,"num_attention_heads":8'


def rows(source):
    """(config.json, line) of each row; C's adjacent strings and the macro SMALL are put together."""
    for table in ("accepted", "published"):
        begin = source.index("} " + table + "[] = {") + len(table) + 7
        text = source[begin : source.index("\n};", begin)].replace(" SMALL ", json.dumps(SMALL))
        row = None
        for string, mark in re.findall(STRING + r"|/\*.*?\*/|([{},])", text):
            if mark == "{":
                row = [""]
            elif mark == ",":
                row = row and row + [""]
            elif mark == "}":
                yield tuple(json.loads('"' + part + '"') for part in row[-2:])
                row = None
            elif row:
                row[-1] += string


def rope(config):
    section = getattr(config, "rope_scaling", None) or {}
    kind = section.get("rope_type", section.get("type", "default"))
    if kind == "linear":
        return "linear %g" % section["factor"]
    if kind == "llama3":
        names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        return "llama3 " + ",".join("%g" % section[name] for name in names)
    return "plain"


def window(config):
    layers = getattr(config, "layer_types", None)
    sliding = getattr(config, "sliding_window", None) or 0
    if layers:
        first = [i for i, kind in enumerate(layers) if kind == "sliding_attention"]
        return (sliding, first[0]) if first else (0, 0)
    return (sliding, 0) if config.model_type in ("mistral", "phi3") else (0, 0)


def token(value, vocabulary):
    value = value[0] if isinstance(value, list) else value
    return value if value is not None and 0 <= value < vocabulary else -1


def describe(config):
    kind = {"ministral": "mistral"}.get(config.model_type, config.model_type)  # what it makes of a mistral with layer_types
    both = getattr(config, "attention_bias", False) and kind in ("llama", "qwen3")
    marks = {
        " qkv-bias": both or kind == "qwen2",
        " o-bias": both,
        " mlp-bias": getattr(config, "mlp_bias", False) and kind == "llama",
        " tied": config.tie_word_embeddings,
        " qk-norm": kind == "qwen3",
        " fused": kind == "phi3",
    }
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    line = f"{kind} v{config.vocab_size} h{config.hidden_size} f{config.intermediate_size} l{config.num_hidden_layers}"
    line += f" a{config.num_attention_heads}/{config.num_key_value_heads}x{head} p{config.max_position_embeddings}"
    line += " w%d@%d" % window(config) + f" eps{config.rms_norm_eps:g} theta{config.rope_theta:g} {rope(config)}"
    line += "".join(text for text, given in marks.items() if given)
    return line + f" eos{token(config.eos_token_id, config.vocab_size)} bos{token(config.bos_token_id, config.vocab_size)}"


def main():
    logging.disable(logging.CRITICAL)
    good = bad = left = 0
    with tempfile.TemporaryDirectory() as directory:
        for config, line in rows(TEST.read_text()):
            if "rope_parameters" in config:  # transformers 5's spelling
                left += 1
                continue
            config = config.replace('"quantization_config":null,', "")  # which that version cannot show
            (pathlib.Path(directory) / "config.json").write_text(config)
            found = describe(AutoConfig.from_pretrained(directory))
            good += found == line
            if found != line:
                bad += 1
                print(f"{config}\n  transformers: {found}\n  the test:     {line}")
    print(f"{good} agree, {bad} do not; {left} in a spelling that this version of transformers does not read")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
