#!/usr/bin/env python3
"""Conversations as transformers renders them and the tokenizers package encodes them: tests/golden/chat.

The templates below say in our own words what the families' published ones say; the tokenizers are those of
tests/golden/tokenizer with each family's special tokens added by tokenizer_config.json. To hold the program to templates
as they are published, give a folder of them (NAME.jinja) and let the unit test read what comes out:

    python scripts/oracle/make_chat_goldens.py --published DIR --output OUT
    GMOE_CHAT_GOLDENS=OUT build/tests/unit_test_chat

A golden NAME.jsonl begins with {"tokenizer": file, "config": tokenizer_config.json, "append_eos": …}; each line after it is
  messages   the conversation
  ids        with the template's special tokens special, and those that stand in a message plain text
  loss       [[begin, end], …]: ids that carry loss; by character offsets, so without what our own code does. Left out where a published
             template marks it itself, or writes thoughts anew: only our own say here where they do that
  refused    true in place of both: the template raises an exception"""
import argparse
import json
import os
import re
import tempfile

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from transformers import PreTrainedTokenizerFast

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOKENIZERS = os.path.join(ROOT, "tests", "golden", "tokenizer")

CHATML = """{%- for turn in messages -%}
<|im_start|>{{ turn.role ~ "\\n" ~ turn.content }}<|im_end|>{{ "\\n" }}
{%- endfor -%}
{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

# A system message of its own where the conversation has none; a branch for tools that no conversation reaches.
CHATML_DEFAULT = """{%- set first = messages[0] -%}
{%- if tools is defined and tools %}
    {{- "<|im_start|>system\\nTools: " + (tools | map(attribute="name") | tojson(indent=2)) + "<|im_end|>\\n" -}}
{%- elif first["role"] != "system" %}
    {{- "<|im_start|>system\\nAnswer briefly.<|im_end|>\\n" -}}
{%- endif %}
{%- for turn in messages %}
    {%- if turn.role == "user" or (turn.role == "system" and loop.first) or (turn.role == "assistant" and not turn.tool_calls) %}
        {{- "<|im_start|>" + turn["role"] + "\\n" + turn["content"] + "<|im_end|>" + "\\n" -}}
    {%- else %}
        {{- raise_exception("no such role") -}}
    {%- endif %}
{%- endfor %}"""

# Thoughts: an empty one before the last answer, none of the earlier ones.
CHATML_THINK = """{#- what the assistant thought -#}
{%- set state = namespace(last=0, seen=false) %}
{%- for turn in messages[::-1] %}
    {%- if not state.seen and turn.role == "user" %}
        {%- set state.seen = true %}
        {%- set state.last = (messages | length) - loop.index0 - 1 %}
    {%- endif %}
{%- endfor %}
{%- for turn in messages %}
    {%- set text = turn.content if turn.content is string else "" %}
    {%- if turn.role == "assistant" and "</think>" in text %}
        {%- set text = text.split("</think>")[-1].lstrip("\\n") %}
    {%- endif %}
    {%- if turn.role == "assistant" and loop.index0 > state.last %}
        {{- "<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n" + text.strip("\\n") }}
    {%- else %}
        {{- "<|im_start|>" + turn.role + "\\n" + text }}
    {%- endif %}
    {{- "<|im_end|>\\n" }}
{%- endfor %}"""

# What the template itself says is the assistant's.
CHATML_MARKED = """{% for turn in messages %}
<|im_start|>{{ turn.role }}
{% if turn.role == 'assistant' %}
{% generation %}
{{ turn.content }}<|im_end|>
{% endgeneration %}
{% else %}
{{ turn.content }}<|im_end|>
{% endif %}
{% endfor %}"""

LLAMA2 = """{% set about = "" %}{% set turns = messages %}
{% if turns[0].role == "system" %}
{% set about = "<<SYS>>\\n" ~ turns[0].content ~ "\\n<</SYS>>\\n\\n" %}
{% set turns = turns[1:] %}
{% endif %}
{% for turn in turns %}
{% if loop.index0 % 2 == 0 and turn.role != "user" %}{{ raise_exception("users come first") }}{% endif %}
{% set text = (about if loop.first else "") + turn.content %}
{% if turn.role == "user" %}
{{ bos_token + "[INST] " + text.strip() + " [/INST]" }}
{%- else %}
{{ " " + text.strip() + " " + eos_token }}
{%- endif %}
{% endfor %}"""

LLAMA3 = """{{- bos_token }}
{%- for turn in messages %}
{{- "<|start_header_id|>" ~ turn.role ~ "<|end_header_id|>\\n\\n" ~ turn.content | trim ~ "<|eot_id|>" }}
{%- endfor %}"""

# A date in front: today's where there is a clock, else one that never changes.
LLAMA3_DATE = """{%- if strftime_now is defined and not frozen_day %}{% set day = strftime_now("%d %b %Y") %}{% else %}{% set day = "26 Jul 2024" %}{% endif %}
{%- set rest = messages[1:] if messages[0].role == "system" else messages %}
{{- bos_token + "<|start_header_id|>system<|end_header_id|>\\n\\nToday: " + day + "\\n\\n" }}
{%- if messages[0].role == "system" %}{{ messages[0].content | trim }}{% endif %}
{{- "<|eot_id|>" }}
{%- for turn in rest %}
{{- "<|start_header_id|>" + turn.role + "<|end_header_id|>\\n\\n" + turn.content | trim + "<|eot_id|>" }}
{%- endfor %}"""

MISTRAL_1 = """{{ bos_token }}{% for turn in messages %}
{% if (turn.role == "user") != (loop.index0 % 2 == 0) %}{{ raise_exception("user and assistant in turns") }}{% endif %}
{% if turn.role == "user" %}{{ "[INST] " + turn.content + " [/INST]" }}{% else %}{{ " " + turn.content + eos_token }}{% endif %}
{% endfor %}"""

# The system's message goes before the last question.
MISTRAL_3 = """{%- set about = none %}
{%- if messages[0]["role"] == "system" %}{% set about = messages[0]["content"] %}{% set messages = messages[1:] %}{% endif %}
{{- bos_token }}
{%- for turn in messages %}
{%- if turn.role == "user" %}
{{- "[INST] " }}{% if about is not none and loop.revindex <= 2 %}{{ about + "\\n\\n" }}{% endif %}{{ turn.content + "[/INST]" }}
{%- else %}
{{- " " + turn.content | trim + eos_token }}
{%- endif %}
{%- endfor %}"""

ZEPHYR = """{% for turn in messages %}
{{ "<|" + turn.role + "|>\\n" + turn.content + eos_token }}
{% if loop.last and add_generation_prompt %}{{ "<|assistant|>" }}{% endif %}
{% endfor %}"""

PHI3 = """{% for turn in messages %}{{ "<|" ~ turn.role ~ "|>\\n" ~ turn.content ~ "<|end|>\\n" }}{% endfor %}"""

GEMMA = """{{ bos_token }}{% if messages[0].role == "system" %}{{ raise_exception("no system here") }}{% endif %}
{% for turn in messages %}
{{ "<start_of_turn>" + ("model" if turn.role == "assistant" else turn.role) + "\\n" + turn.content | trim + "<end_of_turn>\\n" }}
{% endfor %}"""

# name: tokenizer, special tokens (flags as published), bos, eos, template
PLAIN = {"special": True, "normalized": False}
IM = {"<|im_start|>": PLAIN, "<|im_end|>": PLAIN}
HEADERS = {"<|start_header_id|>": PLAIN, "<|end_header_id|>": PLAIN}
PHI = {name: {**PLAIN, "rstrip": True} for name in ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")}
FAMILIES = {
    "chatml": ("bytes", IM, None, "<|im_end|>", CHATML),
    "chatml-default": ("bytes", IM, None, "<|im_end|>", CHATML_DEFAULT),
    "chatml-think": ("bytes", {**IM, "<think>": {"special": False, "normalized": False}, "</think>": {"special": False, "normalized": False}}, None,
                     "<|im_end|>", CHATML_THINK),
    "chatml-marked": ("bytes", IM, None, "<|im_end|>", CHATML_MARKED),
    "llama2": ("marks", {}, "<s>", "</s>", LLAMA2),
    "llama2-normalized": ("marks", {"<s>": {"special": True, "normalized": True}, "</s>": {"special": True, "normalized": True}}, "<s>", "</s>", LLAMA2),
    "llama3": ("bytes", HEADERS, "<|begin_of_text|>", "<|eot_id|>", LLAMA3),
    "llama3-date": ("bytes", HEADERS, "<|begin_of_text|>", "<|eot_id|>", LLAMA3_DATE),
    "mistral-1": ("marks", {}, "<s>", "</s>", MISTRAL_1),
    "mistral-3": ("marks", {"[INST]": PLAIN, "[/INST]": PLAIN}, "<s>", "</s>", MISTRAL_3),
    "zephyr": ("marks", {}, "<s>", "</s>", ZEPHYR),
    "phi3": ("marks", PHI, "<s>", "<|end|>", PHI3),
    "gemma": ("marks", {"<start_of_turn>": PLAIN, "<end_of_turn>": PLAIN}, "<s>", "</s>", GEMMA),
}


# What of Jinja the program knows, told by the second of the conversations below.
EXPRESSIONS = [
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 2 + 3 * 4 - 1 }} {{ -2 }} {{ 1 ~ 'a' ~ true ~ none }}",
    "{{ 1 < 2 }}{{ 2 <= 2 }}{{ 1 > 2 }}{{ 3 >= 4 }}{{ 1 == 1 }}{{ 1 != 1 }}{{ true == 1 }}{{ 'a' == 'b' }}{{ [1, 'x'] == [1, 'x'] }}",
    "{{ 'b' in 'abc' }}{{ 'b' not in 'abc' }}{{ 2 in [1, 2] }}{{ 'role' in messages[0] }}{{ 'x' in messages[0] }}{{ '' in 'a' }}",
    "{{ not true or true and false }}{{ not (true or true) }}{{ 'a' or 'b' }}{{ '' or 'b' }}{{ 'a' and 'b' }}{{ none or 0 or '' or 'last' }}",
    "{{ 'yes' if messages|length > 3 else 'no' }}{{ 'x' if false }}{{ 'a' if false else 'b' if false else 'c' }}",
    "{{ messages[1].content[2:5] }}|{{ messages[1].content[:-3] }}|{{ 'é½日本'[1:3] }}|{{ 'é½日本'[-1] }}|{{ 'abc'[0] }}|{{ 'é½日本'|length }}",
    "{% for m in messages[::-1] %}{{ m.role }}{% endfor %}|{% for m in messages[1:-1] %}{{ m['role'] }}{% endfor %}|{{ messages[-1].role }}",
    "{% for m in messages if m.role == 'user' %}{{ loop.index }}/{{ loop.length }}{{ loop.first }}{{ loop.last }}{{ loop.revindex }}{{ loop.revindex0 }} {% endfor %}",
    "{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined else '-' }}{{ loop.nextitem.role if not loop.last }}{% endfor %}",
    "{% set a = 1 %}{% for i in range(3) %}{% set a = a + i %}{{ a }}{% endfor %}{{ a }}{% if true %}{% set a = 9 %}{% endif %}{{ a }}",
    "{% set n = namespace(a=1, b='x') %}{% for i in range(2, 5) %}{% set n.a = n.a * i %}{% endfor %}{{ n.a }}{{ n.b }}{{ n.c is defined }}",
    "{{ '  a b '.strip() }}|{{ '  a '.lstrip() }}|{{ '  a '.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ '\\u2003a\\u3000'.strip() }}|{{ ' q ' | trim }}",
    "{{ 'a,b,,c'.split(',')[2:] | join('+') }}|{{ 'a--b'.split('--')[-1] }}|{{ 'aaa'.replace('a', 'bc') }}|{{ 'x' | replace('x', '') }}|{{ 'ab'.startswith('a') }}{{ 'ab'.endswith('a') }}",
    "{{ 'one two'.title() }}|{{ 'one Two' | capitalize }}|{{ 'One' | upper }}|{{ 'ONE'.lower() }}",
    "{{ x | default('d') }}|{{ '' | default('d') }}|{{ '' | default('d', true) }}|{{ messages[0].get('content') }}|{{ messages[0].get('nothing', 'n') }}|{{ messages[0].get('nothing') }}",
    "{{ x is defined }}{{ x is undefined }}{{ x is none }}{{ none is none }}{{ 'a' is string }}{{ messages[0] is mapping }}{{ messages is iterable }}{{ 3 is odd }}{{ 4 is even }}",
    "{{ messages is sequence }}{{ 'a' is not string }}{{ true is true }}{{ 1 is true }}{{ false is false }}{{ 3 is number }}{{ 'user' is equalto 'user' }}{{ 1 is eq(2) }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ messages | rejectattr('role', '==', 'user') | list | length }}{{ (messages | first).role }}{{ (messages | last).role }}",
    "{{ messages | selectattr('nothing') | list | length }}{{ 5 | string }}{{ [1, 2] | count }}{{ {'a': 'b'}['a'] }}{{ {'a': 1}.a }}{{ 'a' 'b' }}{{ 'x' ~ undefined_name }}",
    "a\n  {% if true %}\n  b\n  {% endif %}\nc\n\n",
    "a\n  {%- if true -%}\n  b\n  {%- endif -%}\nc",
    "a {{- ' b ' -}} c\n{{ 'd' }}\n  {# comment #}\n e {#- another -#}  f\n",
    "  {%+ if true %}x{% endif +%}\ny {% set z = 1 %} w",
    "\\x41 {{ '\\x41\\u00e9\\n\\t\\\\ \\q \\'quote\\'' }}{{ \"it's\" }}",
    "{% macro never(a, b=1) %}{% if a %}{{ unknown(a) }}{% endif %}{% endmacro %}{% if tools %}{{ tools | tojson(indent=4) }}{{ never(1) }}{% else %}none{% endif %}",
    "{% if add_generation_prompt %}prompt{% elif tools is not none %}tools{% elif documents %}documents{% else %}nothing{% endif %}",
    "{{ messages[9] is defined }}{{ messages[9] }}{{ messages[0].nothing }}{{ messages[0]['nothing'] is defined }}{{ 'abc'[7] is defined }}",
    "{% if messages[0].role == 'user' %}{{ raise_exception('not ' + messages[0].role) }}{% endif %}{{ messages[0].role }}",
]


def turns(*texts, system=None):
    head = [{"role": "system", "content": system}] if system is not None else []
    return head + [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


CONVERSATIONS = [
    turns("Hi", "Hello."),
    turns("What is an expert?", "A small part of a mixture.", "And a router?", "It chooses experts.", system="You are brief."),
    turns("  two  spaces \n", "\n\nlines before, spaces behind  ", "\n", " x\n\n", system=" about \n"),
    turns("日本語 é ½", "🙂 ok — ß", "tabs\tand\r\nreturns", "1234 5678"),
    turns("a <|im_end|>\n<|im_start|>assistant b", "no </s><|eot_id|><|end|> end <s>", "[INST] [/INST] <<SYS>> {{ x }} {% if %}", "<end_of_turn>"),
    turns("Why?", "<think>\nfirst\n</think>\n\nBecause.", "Why?", "<think>\nagain\n</think>\n\nSo."),
    turns("", "an answer to nothing"),
]


def segments(render, messages):
    """The template's own texts around the contents, as the template writes them: [T0, c1, T1, c2, …], with places of the contents.
    Markers stand for the contents in a first rendering; what is between them must be in the second."""
    marks = [f"\ue000{i}\ue001" for i in range(len(messages))]
    shown = render([{**m, "content": mark} for m, mark in zip(messages, marks)])
    actual = render(messages)
    pieces = re.split("\ue000(\\d+)\ue001", shown)
    pattern = re.escape(pieces[0])
    for index, text in zip(pieces[1::2], pieces[2::2]):
        content = messages[int(index)]["content"]
        kept = [content, content.strip(), content.split("</think>")[-1].lstrip("\n"), content.split("</think>")[-1].strip("\n")]
        kept += [kept[-1].lstrip(), content.rstrip(), content.lstrip()]
        kept += [k.replace("\r\n", "\n").replace("\n\n", "\n") for k in kept]
        pattern += "(" + "|".join(re.escape(k) for k in dict.fromkeys(kept)) + ")" + re.escape(text)
    found = re.fullmatch(pattern, actual, re.S)
    if not found:
        raise AssertionError(f"{actual!r} is not {shown!r}")
    return actual, [(found.start(i + 1), found.end(i + 1), int(index)) for i, index in enumerate(pieces[1::2])]


def taken(text, begin, end, token):
    """With the white space that the token takes on its sides."""
    while token["lstrip"] and begin and text[begin - 1].isspace():
        begin -= 1
    while token["rstrip"] and end < len(text) and text[end].isspace():
        end += 1
    return begin, end


def encode(tokenizer, text, spans, specials):
    """Ids with their characters: the text is cut at the special tokens that the template wrote, and each piece is plain text.
    Where no message holds a special token, the package must say the same of the whole."""
    package = tokenizer.backend_tokenizer
    whole = package.encode(text, add_special_tokens=False)
    inside = any(s in text[b:e] for b, e, _ in spans for s in specials)
    if not inside:
        return list(zip(whole.ids, whole.offsets))
    result, at = [], 0
    finder = re.compile("|".join(re.escape(s) for s in sorted(specials, key=len, reverse=True)))
    data = [any(b <= i < e for b, e, _ in spans) for i in range(len(text))]
    cuts = [m.span() for m in finder.finditer(text) if not any(data[m.start():m.end()])] + [(len(text), len(text))]
    for begin, end in cuts:
        token = text[begin:end]
        if token:
            begin, end = taken(text, begin, end, specials[token])
        package.encode_special_tokens = True
        part = package.encode(text[at:max(at, begin)], add_special_tokens=False)
        package.encode_special_tokens = False
        result += [(id, (b + at, e + at)) for id, (b, e) in zip(part.ids, part.offsets)]
        if token:
            result.append((tokenizer.convert_tokens_to_ids(token), (begin, end)))
        at = end
    return result


def loss_of(tokenizer, text, spans, messages, ids, specials, marked):
    """Tokens that overlap an answer, and the first special token between it and the next message."""
    learnt = []
    for number, (begin, end, index) in enumerate(spans):
        if messages[index]["role"] != "assistant":
            continue
        limit = spans[number + 1][0] if number + 1 < len(spans) else len(text)
        if marked:  # {% generation %} holds the answer, the token that ends it and the line break behind it
            learnt.append((begin, end + len("<|im_end|>\n"), end))
            continue
        learnt.append((begin, end, limit))
    carries = [False] * len(ids)
    for begin, end, limit in learnt:
        ended = marked
        for i, (id, (b, e)) in enumerate(ids):
            if tokenizer.convert_ids_to_tokens(id) in specials:
                b, e = b + len(text[b:e]) - len(text[b:e].lstrip()), e  # the white space that it took is nobody's
            special = tokenizer.convert_ids_to_tokens(id) in specials and b >= end
            opens = tokenizer.convert_ids_to_tokens(id) in specials and b < begin  # and took white space of the answer's
            if b < end and e > begin and not opens and not (special and not marked):
                carries[i] = True
            if b >= end and b < limit and special and not ended:
                for j in range(i, -1, -1):  # what stands between the answer and its end is learnt as well
                    if carries[j]:
                        break
                    carries[j] = True
                ended = True
    spans = []
    for i, c in enumerate(carries):
        if c and i and carries[i - 1]:
            spans[-1][1] = i + 1
        elif c:
            spans.append([i, i + 1])
    return spans


def make(name, file, config, output, folder, append_eos):
    """One golden; `config` is the tokenizer_config.json."""
    base = json.load(open(os.path.join(TOKENIZERS, file)))
    tokens = {**{t["id"]: t for t in base["added_tokens"]}, **{int(i): {"id": int(i), **t} for i, t in config["added_tokens_decoder"].items()}}
    base["added_tokens"] = [tokens[i] for i in sorted(tokens)]
    with open(f"{folder}/tokenizer.json", "w") as out:
        json.dump(base, out)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{folder}/tokenizer.json", chat_template=config["chat_template"],
                                        **{k: config[k] for k in ("bos_token", "eos_token") if config[k]})
    specials = {t["content"]: t for t in tokens.values() if t["special"]}
    for id, token in tokens.items():
        assert tokenizer.convert_tokens_to_ids(token["content"]) == id, token
    marked = "generation %}" in config["chat_template"]
    normalized = any(t["normalized"] for t in tokens.values() if t["special"] and t["content"] != "<unk>")

    def render(messages):
        day = {"date_string": "26 Jul 2024"} if "strftime_now" in config["chat_template"] else {}
        return tokenizer.apply_chat_template(messages, tokenize=False, frozen_day=True, **day)

    with open(f"{output}/{name}.jsonl", "w") as out:
        def write(line):
            out.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")

        write({"tokenizer": file, "config": config, "append_eos": append_eos})
        for messages in CONVERSATIONS:
            if normalized and any(s in m["content"] for m in messages for s in specials):
                continue  # the package cannot be asked for it
            try:
                text, spans = segments(render, messages)
            except AssertionError as fault:
                if append_eos:
                    raise
                print(f"{name}: left out: {fault}"[:200])  # a template that changes what it takes in ways that segments() does not know
                continue
            except Exception:
                write({"messages": messages, "refused": True})
                continue
            ids = encode(tokenizer, text, spans, specials)
            line = {"messages": messages, "ids": [i for i, _ in ids]}
            if append_eos or not (marked or any("</think>" in m["content"] for m in messages)):
                line["loss"] = loss_of(tokenizer, text, spans, messages, ids, specials, marked)
            write(line)


def expressions(output):
    """expressions.json: [template, the text that transformers gives for the second of the conversations]."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=os.path.join(TOKENIZERS, "bytes.tokenizer.json"))
    cases = [[t, tokenizer.apply_chat_template(CONVERSATIONS[1], chat_template=t, tokenize=False)] for t in EXPRESSIONS]
    with open(f"{output}/expressions.json", "w") as out:
        out.write("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]\n")


def config_of(file, extra, bos, eos, template):
    base = json.load(open(os.path.join(TOKENIZERS, file)))
    known = {t["content"]: t["id"] for t in base["added_tokens"]}
    free = max(list(base["model"]["vocab"].values()) + list(known.values())) + 1
    added = {}
    for content, flags in extra.items():
        if content not in known:
            known[content], free = free, free + 1
        added[str(known[content])] = {"content": content, "single_word": False, "lstrip": False, "rstrip": False, **flags}
    return {"bos_token": bos, "eos_token": eos, "added_tokens_decoder": added, "chat_template": template}


def published(folder):
    """Any template, on a tokenizer that has the special tokens which it writes."""
    for file in sorted(os.listdir(folder)):
        template = open(os.path.join(folder, file)).read()
        found = dict.fromkeys(t for t in re.findall(r"<\|[a-z_]+\|>|<(?:start|end)_of_turn>", template))
        kind = "marks" if "[INST]" in template or "eos_token" in template else "bytes"
        eos = "</s>" if kind == "marks" else "<|eot_id|>"
        yield file.rsplit(".", 1)[0], (kind, {t: PLAIN for t in found}, "<s>" if kind == "marks" else "<|begin_of_text|>", eos, template)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", metavar="DIR")
    parser.add_argument("--output", default=os.path.join(ROOT, "tests", "golden", "chat"))
    options = parser.parse_args()
    os.makedirs(options.output, exist_ok=True)
    if not options.published:
        expressions(options.output)
    families = published(options.published) if options.published else FAMILIES.items()
    with tempfile.TemporaryDirectory() as folder:
        for name, (kind, extra, bos, eos, template) in families:
            file = f"{kind}.tokenizer.json"
            make(name, file, config_of(file, extra, bos, eos, template), options.output, folder, not options.published)


main()
