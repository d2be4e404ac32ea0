"""Trains small tokenizers of the usual kinds, and writes what Python makes of some texts.

python expected.py, with tokenizers and sentencepiece. With the path of a tokenizer.json: prints the expected tokens
of that file, as the test reads them from METAPRUNE_TOKENIZERS.
"""
import base64
import io
import json
import pathlib
import sys
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

here = pathlib.Path(__file__).parent
root = here.parents[3]
corpus = [line for page in sorted(root.glob("docs/*.md")) for line in page.read_text().splitlines() if line.strip()][:600]

texts = [
    "", " ", "Hello, world!", "hello   world  ", "  two  leading spaces", "It's we'll they'd I'VE don't", "naïve café Ünïcödé İstanbul ẞ",
    "price: $1,234.50 (12%) -- e-mail a@b.co", "channels\tof\na model\r\n\r\nand more\n\n\n  x", "漢字かな交じり文 and 한국어", "emoji 👩‍👩‍👧 🙂 ☃️ flag 🇩🇪",
    "ﬁne ﬂuﬀy ½ ① Ⅳ ℃ ﷺ ｆｕｌｌ", "zero\u200bwidth\u00adsoft\ufeffmark\u00a0nbsp\u3000wide", "e\u0301 combining a\u0308\u0323", "x" * 120, "word" * 40,
    "[CLS] special [MASK] tokens <s> </s> <pad>", "<|endoftext|>inside<|endoftext|> text", "0123456789 42 3.14 ٣٤ ²", "_under_score__ CamelCase snake_case",
    "prune --speed-up 2 model.onnx -o smaller.onnx", "ひらがな。カタカナ、「括弧」", "\u0000control\u0007chars\u0085next", "Ĳ ĳ ſ ŉ ǆ", "a\u2028b\u2029c", "мир во всём мире", "นี่คือข้อความ",
]


def bert():
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    t.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=600, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return t


def cased():
    t = bert()
    t.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=None, handle_chinese_chars=False)
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    t.enable_padding(pad_id=0, pad_token="[PAD]", direction="left")
    return t


def gpt2():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=600, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return t


def roberta():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    special = ["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True)]
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=500, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return t


def gpt4():
    pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=500, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.add_tokens([AddedToken("speed-up", single_word=True), AddedToken("Camel", normalized=True)])
    return t


def llama():
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    words = [w for line in corpus for w in ("▁" + line.replace(" ", " ▁")).split(" ")]
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    pre, t.pre_tokenizer = t.normalizer, pre_tokenizers.WhitespaceSplit()
    t.normalizer = None
    t.train_from_iterator(words, trainers.BpeTrainer(vocab_size=700, special_tokens=special))
    data = json.loads(t.to_str())
    data["normalizer"], data["pre_tokenizer"] = json.loads('{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]}'), None
    data["added_tokens"] = [a for a in data["added_tokens"] if a["id"] < 3]
    t = Tokenizer.from_str(json.dumps(data))
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return t


def unigram(rule, metaspace, whitespace):
    with tempfile.TemporaryDirectory() as d:
        args = {"normalization_rule_tsv": rule} if rule else {"normalization_rule_name": "nmt_nfkc"}
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_writer=out, vocab_size=400, hard_vocab_limit=False, minloglevel=2, **args)
    m = pb.ModelProto.FromString(out.getvalue())
    t = Tokenizer(models.Unigram([(p.piece, p.score) for p in m.pieces], 0, False))
    data = json.loads(t.to_str())
    data["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Precompiled", "precompiled_charsmap": base64.b64encode(m.normalizer_spec.precompiled_charsmap).decode()}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}
    t = Tokenizer.from_str(json.dumps(data))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace]) if whitespace else metaspace
    t.add_special_tokens(["<unk>", "<s>", "</s>"])
    t.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    return t


def expected(t):
    plain = []
    t.no_padding()
    t.no_truncation()
    for text in texts:
        plain.append(t.encode(text).ids)
    return plain


def main():
    for path in sys.argv[1:]:
        print(json.dumps({"texts": texts, "files": {path: expected(Tokenizer.from_file(path))}}))
    if sys.argv[1:]:
        return
    rule = here / "rule.tsv"
    rule.write_text("".join(f"{' '.join(f'{ord(c):X}' for c in a)}\t{' '.join(f'{ord(c):X}' for c in b)}\n" for a, b in [("ﬁ", "fi"), ("ﬀ", "ff"), ("½", "1⁄2"), ("e\u0301", "é"), ("\t", " "), ("\n", " "), ("\u200b", ""), ("Ｆ", "f"), ("　", " "), ("①", "1")]))
    all = {
        "bert": bert(), "cased": cased(), "gpt2": gpt2(), "roberta": roberta(), "gpt4": gpt4(), "llama": llama(),
        "t5": unigram(str(rule), pre_tokenizers.Metaspace(prepend_scheme="always"), False),
        "xlmr": unigram(str(rule), pre_tokenizers.Metaspace(prepend_scheme="first"), True),
    }
    rule.unlink()
    out = {"texts": texts, "files": {}, "cut": {}}
    for name, t in all.items():
        padding = t.padding
        (here / f"{name}.json").write_text(json.dumps(json.loads(t.to_str()), ensure_ascii=False, separators=(",", ":")))
        out["files"][name] = expected(t)
        t.enable_truncation(12)
        t.enable_padding(length=12, **({"direction": padding["direction"], "pad_id": padding["pad_id"]} if padding else {"pad_id": {"bert": 0, "roberta": 1, "llama": 2, "t5": 2, "xlmr": 2}.get(name, 0)}))
        got = [t.encode(text) for text in texts]
        out["cut"][name] = [[e.ids, e.attention_mask] for e in got]
    (here / "expected.json").write_text(json.dumps(out, separators=(",", ":")))


main()
