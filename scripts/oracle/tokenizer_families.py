"""Small tokenizers composed as those of well-known families are (their normalizers, pre-tokenizers, options, added tokens,
post-processors and decoders; vocabularies trained here on the texts given): for gmoe's goldens and fuzz test.

    FAMILIES[name](corpus)      a tokenizers.Tokenizer"""
import json

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = "|".join([r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                  r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                  r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
TEKKEN = "|".join([r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+", r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
                   r"\p{N}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
DEEPSEEK_V3 = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def split(pattern, behavior="isolated"):
    return pre_tokenizers.Split(Regex(pattern), behavior)


def byte_level(use_regex=True):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def added(content, **flags):
    return {"id": None, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True, **flags}


def template(package, pieces):
    names = [p for p in pieces.split() if p != "$A"]
    return processors.TemplateProcessing(single=pieces, pair=pieces + " $B", special_tokens=[(n, package.token_to_id(n)) for n in names])


def finished(package, tokens, **options):
    """The package with options of the model that training does not have, and with added tokens as the file would list them."""
    document = json.loads(package.to_str())
    document["model"].update(options)
    vocabulary = document["model"]["vocab"]
    for i, token in enumerate(tokens):
        token["id"] = vocabulary.get(token["content"], len(vocabulary) + sum(t["content"] not in vocabulary for t in tokens[:i]))
    document["added_tokens"] = sorted(tokens, key=lambda t: t["id"])
    return Tokenizer.from_str(json.dumps(document))


def byte_pairs(corpus, pre_tokenizer, tokens, normalizer=None, special=(), post="$A", merges=150, **options):
    """Bytes; `special` stand at the vocabulary's beginning."""
    package = Tokenizer(models.BPE())
    package.normalizer = normalizer
    package.pre_tokenizer = pre_tokenizer
    package.decoder = decoders.ByteLevel()
    package.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=256 + len(special) + merges, special_tokens=list(special), show_progress=False,
                                                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    package = finished(package, tokens, **options)
    package.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template(package, post)]) if post != "$A" else processors.ByteLevel(trim_offsets=False)
    return package


def marks(corpus, tokens, special, normalizer=None, pre_tokenizer=None, decoder=(), post="$A", merges=150):
    """Characters with byte fallback and ▁ for spaces; the words trained on begin with ▁."""
    package = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    package.normalizer = normalizers.Replace(" ", "▁")
    package.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    letters = [c for c in map(chr, range(33, 127))] + list("▁éèßüñあいの日本中文的кирилц")
    special = list(special) + [f"<0x{b:02X}>" for b in range(256)]
    package.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=len(special) + len(letters) + merges, special_tokens=special, show_progress=False,
                                                            initial_alphabet=letters, limit_alphabet=len(letters)))
    package.normalizer, package.pre_tokenizer = normalizer, pre_tokenizer
    package.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *decoder])
    package = finished(package, tokens)
    if post != "$A":
        package.post_processor = template(package, post)
    return package


def gemma(corpus):
    tokens = [added(t) for t in ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")] + [added(t, special=False) for t in ("\n\n", "\n\n\n", "▁▁", "▁▁▁▁", "<table>", "[toxicity=0]")]
    return marks(corpus, tokens, ["<pad>", "<eos>", "<bos>", "<unk>"], normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"), post="<bos> $A")


def yi(corpus):
    tokens = [added(t, normalized=True) for t in ("<unk>", "<|startoftext|>", "<|endoftext|>")] + [added("<|im_start|>"), added("<|im_sep|>", special=False)]
    return marks(corpus, tokens, ["<unk>", "<|startoftext|>", "<|endoftext|>"], normalizers.Sequence([normalizers.Replace(" ", "▁")]))


def phi3(corpus):
    tokens = [added("<unk>"), added("<s>"), added("</s>", rstrip=True, special=False), added("<|endoftext|>")] + [added(t, rstrip=True) for t in ("<|assistant|>", "<|end|>", "<|user|>", "<|im_end|>")]
    return marks(corpus, tokens, ["<unk>", "<s>", "</s>"], normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), decoder=[decoders.Strip(" ", 1, 0)])


def mistral(corpus):
    tokens = [added(t) for t in ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]")]
    return marks(corpus, tokens, ["<unk>", "<s>", "</s>"], None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False), [decoders.Strip(" ", 1, 0)], "<s> $A")


def smollm2(corpus):
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"]
    return byte_pairs(corpus, pre_tokenizers.Sequence([pre_tokenizers.Digits(True), byte_level()]), [added(t) for t in special], special=special)


def starcoder(corpus):
    special = ["<|endoftext|>", "<fim_prefix>", "<fim_suffix>", "<gh_stars>"]
    return byte_pairs(corpus, pre_tokenizers.Sequence([pre_tokenizers.Digits(True), byte_level()]), [added(t) for t in special], special=special, unk_token="<|endoftext|>")


def deepseek(corpus):
    steps = [split(r"[\r\n]"), split(r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-Ֆ]+"), split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"), split(r"\s+$"),
             split(r"[一-龥ࠀ-一가-퟿]+"), pre_tokenizers.Digits(True), byte_level(False)]
    tokens = [added("<｜begin▁of▁sentence｜>", normalized=True), added("<｜end▁of▁sentence｜>", normalized=True), added("<｜fim▁hole｜>", special=False, normalized=True)]
    return byte_pairs(corpus, pre_tokenizers.Sequence(steps), tokens, normalizers.Sequence([]), post="<｜begin▁of▁sentence｜> $A")


def deepseek_v3(corpus):
    steps = [split(r"\p{N}{1,3}"), split(r"[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK_V3), byte_level(False)]
    tokens = [added("<｜begin▁of▁sentence｜>"), added("<｜end▁of▁sentence｜>"), added("<think>", special=False), added("<｜User｜>", special=False)]
    return byte_pairs(corpus, pre_tokenizers.Sequence(steps), tokens, normalizers.Sequence([]), post="<｜begin▁of▁sentence｜> $A")


def falcon(corpus):
    steps = [pre_tokenizers.Punctuation("contiguous"), byte_level(), pre_tokenizers.Digits(False), split("[0-9][0-9][0-9]")]
    special = [">>TITLE<<", ">>ABSTRACT<<", ">>PREFIX<<", "<|endoftext|>"]
    return byte_pairs(corpus, pre_tokenizers.Sequence(steps), [added(t) for t in special], special=special)


def neox(corpus):
    tokens = [added("<|endoftext|>"), added("<|padding|>")] + [added(" " * n, normalized=True, special=False) for n in range(6, 1, -1)]
    return byte_pairs(corpus, byte_level(), tokens, normalizers.NFC(), special=["<|endoftext|>", "<|padding|>"])


def bloom(corpus):
    special = ["<unk>", "<s>", "</s>", "<pad>"]
    steps = [split(r" ?[^(\s|[.,!?…。，、।۔،])]+"), byte_level(False)]
    return byte_pairs(corpus, pre_tokenizers.Sequence(steps), [added(t) for t in special], special=special)


def cohere(corpus):
    special = ["<PAD>", "<UNK>", "<BOS_TOKEN>", "<EOS_TOKEN>"]
    steps = [pre_tokenizers.Digits(True), byte_level()]
    tokens = [added(t) for t in special] + [added("<|START_OF_TURN_TOKEN|>", special=False), added("<|USER_TOKEN|>", special=False)]
    return byte_pairs(corpus, pre_tokenizers.Sequence(steps), tokens, normalizers.NFC(), special=special, post="<BOS_TOKEN> $A")


def tekken(corpus):
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
    return byte_pairs(corpus, pre_tokenizers.Sequence([split(TEKKEN), byte_level(False)]), [added(t) for t in special], special=special, post="<s> $A", ignore_merges=True)


def o200k(corpus):
    tokens = [added(t) for t in ("<|endoftext|>", "<|start|>", "<|message|>")]
    return byte_pairs(corpus, pre_tokenizers.Sequence([split(O200K), byte_level(False)]), tokens)


def olmo2(corpus):
    """cl100k's pattern, Removed and inverted, as tiktoken's vocabularies were first converted."""
    tokens = [added("<|endoftext|>"), added("<|fim_prefix|>", lstrip=True), added("|||EMAIL_ADDRESS|||", special=False, normalized=True)]
    steps = [pre_tokenizers.Split(Regex(CL100K), "removed", True), byte_level(False)]
    return byte_pairs(corpus, pre_tokenizers.Sequence(steps), tokens)


def clip(corpus):
    """Lower case, end-of-word suffixes, a template at both ends."""
    package = Tokenizer(models.BPE(unk_token="<|endoftext|>"))
    package.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    pattern = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    package.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "removed", True), byte_level()])
    package.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("</w>", " ")])
    special = ["<|startoftext|>", "<|endoftext|>"]
    package.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=630, special_tokens=special, show_progress=False, end_of_word_suffix="</w>",
                                                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    package = finished(package, [added("<|startoftext|>", normalized=True), added("<|endoftext|>")])
    package.post_processor = processors.RobertaProcessing(("<|endoftext|>", 1), ("<|startoftext|>", 0), False, False)
    return package


FAMILIES = {f.__name__: f for f in (gemma, yi, phi3, mistral, smollm2, starcoder, deepseek, deepseek_v3, falcon, neox, bloom, cohere, tekken, o200k, olmo2, clip)}
