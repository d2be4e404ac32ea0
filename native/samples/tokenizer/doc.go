// Package tokenizer turns text into tokens as a tokenizer.json says, the format of Hugging Face's
// tokenizers library (https://huggingface.co/docs/tokenizers).
//
// Models: WordPiece, BPE (of bytes as for GPT-2, and of characters with a fallback to bytes) and
// Unigram. Normalisers, pre-tokenisers and post-processors are those of BERT, RoBERTa, GPT-2,
// Llama, T5 and XLM-R and their likes. Tests compare the tokens with the library's.
//
// # Limits
//
// Files of up to 128 MiB; the first [MaxText] bytes of a text. Patterns are regular expressions
// that Go's package regexp knows, besides the one look-ahead that GPT's patterns have.
//
// # Errors
//
// [onnxio.FormatError] for a file that is no tokenizer.json, [onnxio.UnsupportedError] for a part of
// it that is not handled.
//
// # Concurrency
//
// A Tokenizer may be used from several goroutines.
package tokenizer
