//! What `mplug caption --help` says behind its options.

/// Inputs, outputs, runs and examples.
pub(super) const AFTER: &str = "\
Inputs:
  Folders: every file that is a picture by its name (.jpg, .jfif, .png, ...) or by its first
  bytes, sorted by name. Pictures that cannot be read (AVIF, HEIC) fail and are named. Hidden
  files and others are passed over, and the last line counts them.
  Archives: the same in a zip, sorted by name, and in a tar (WebDataset), in its order.
  Standard input (-): a list of inputs, one a line or separated by NUL, in UTF-8 or UTF-16; or
  one picture.
  Parquet (builds with the feature `parquet`): each row is an input, named FILE.parquet/0 and
  so on. The column of --image-column holds encoded pictures, paths relative to the file's
  folder, or {bytes, path}.
  Files with equal bytes are captioned once.

Output:
  text     The caption for a single file, else lines of path<TAB>caption. With --captions N,
           N lines for each picture, best first: [path<TAB>]score<TAB>caption. Control
           characters in names are escaped.
  json     {path, caption, score, token_ids} for each input, in the order of the inputs, with
           `captions` if --captions is given and `tags` if --tags is; {path, error} for an
           input that failed. In `captions`, one that never ended has `is_finished: false`. If a
           name is not UTF-8, path_bytes has its bytes in hexadecimal.
  metadata {file_name, text}, with names from the folder of --output on; inputs that failed have
           no line.
  parquet  The columns path, path_bytes, caption, score, token_ids, captions (list of caption,
           score, token_ids; null without --captions), tags (null without --tags), error.

Several languages (--language zh,en):
  Each picture has a record for each language, in that order. In text the language is before
  the caption; json, csv and parquet have `language` after the path; sidecar writes NAME.zh.txt
  and NAME.en.txt, tar KEY.zh.txt and KEY.zh.json. An input that failed has one record, without
  a language.

Bulk runs:
  With --output FILE, results are kept in FILE.part until the run ends. After an interruption,
  the same command with --resume continues. Inputs with temporary failures, such as a server
  that is down, are tried again by --resume; FILE.part then stays. --shard I/N selects part I
  of N, from 0; the concatenated outputs of all parts equal the output of one run in the
  formats text, jsonl and metadata.

Explanations:
  With --explain FILE.html, a page shows which part of the picture each word of the best caption
  stands on; with FILE.png, numbered tiles do, and a message says which word has which number.

Examples:
  mplug caption photo.jpg
  mplug caption photo.jpg --explain words.html
  mplug caption --model caption-base-zh --captions 3 photo.jpg
  mplug caption --model caption-base-zh --model caption-base-en --language zh,en --format jsonl photos/
  mplug caption photos/ --recursive --output captions.jsonl
  find . -name '*.png' -print0 | mplug caption - --batch-size 8
  mplug caption shards/*.tar --shard 3/64 --format jsonl --output captions.3.jsonl --resume
  mplug caption photos/ -r --format sidecar --on-existing append
  mplug caption photos/ --format sidecar --tags --one-line --prepend 'sks style, '
  curl -s https://example.org/cat.jpg | mplug caption -
  mplug caption --allow-urls https://example.org/cat.jpg";
