"""Compares this project's METEOR with the official jar, number by number, on drawn pairs of captions.

    pip install pycocoevalcap        # brings the jar and the paraphrase table; needs Java
    python reference/compare_meteor.py .../pycocoevalcap/meteor/meteor-1.5.jar --cases 20000

Each case goes to both programs as the evaluator sends it ("SCORE ||| reference ||| ... ||| candidate"); all 23 statistics
must be equal. `--exact-stem` compares the form without resources with the jar's modules "exact stem" and no function
words, leaving out the cases in which an abbreviation of the jar's list stands before a dot (the jar always has that list).
Prints the counts by kind of case and the differing cases; exits with 1 if there are any. Knows nothing of scores:
they are a formula of the statistics, tested in the crate.
"""

import argparse
import collections
import gzip
import itertools
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
LETTERS = ["a", "b", "c", "the", "dog", "dogs"]
ODD = ["'", "''", "`", "’", "“", "-", "--", "–", "—", ".", "..", "...", ",", ";", "(", "\u00a0", "é", "я", "中", "一个", "😀",
       "1", "23", "1,000", "3.5", "a", "B", "s", "No", "Mr", "vs", "v", "u.s", "x", "\u0d25", "in", "$", "%", "/", "Σ", "İ"]
WHOLE = ["u.s.", "e.g.", "i.e.", "vs.", "no. 5", "mr. x", "o'clock", "don't", "don n't", "'s", "rock'n'roll", "1990's", "t-shirt",
         "black-and-white", "100 %", "1 1/2", "-lrb- x -rrb-", "st.", "p.m.", "gelato", "variants", "ip", "k2", "as", "c5",
         "hes", "haï", "a.b.c.", "3.", "5,000", "one-way", "women's", "dogs'", "$ 5", "#1", "@home", "e-mail"]


def captions():
    data = json.loads((ROOT / "fixtures/metrics/en_synthetic_200.json").read_text())
    chinese = json.loads((ROOT / "fixtures/metrics/zh_150.json").read_text())
    english = [text for image in data["images"] for text in image["refs_tok"] + [image["cand_tok"]]]
    return english, [text for image in chinese["images"] for text in image["refs"] + [image["cand"]]]


def paraphrases(jar, rng, count):
    """A sample of the table: every so many entries of three lines."""
    sample = []
    with gzip.open(jar.parent / "data/paraphrase-en.gz", "rt", encoding="utf-8") as lines:
        for _, phrase, paraphrase in itertools.zip_longest(lines, lines, lines):
            if rng.random() < count / 5e6:
                sample.append((phrase.strip(), paraphrase.strip()))
    return sample


def synonyms(jar):
    """Groups of words that share a synonym set, without compounds."""
    sets = collections.defaultdict(list)
    with zipfile.ZipFile(jar) as archive:
        lines = archive.read("synonym/english.synsets").decode().splitlines()
    for word, numbers in zip(lines[0::2], lines[1::2]):
        for number in numbers.split():
            sets[number].append(word)
    return [group for group in sets.values() if len(group) > 1]


class Drawer:
    """Draws cases of each kind: (candidate, references)."""

    def __init__(self, jar, seed):
        self.rng = random.Random(seed)
        self.english, self.chinese = captions()
        self.words = sorted({word for text in self.english for word in text.split()})
        self.paraphrases = paraphrases(jar, self.rng, 60000)
        self.synonyms = synonyms(jar)
        self.kinds = {name[5:]: getattr(self, name) for name in dir(self) if name.startswith("draw_")}

    def pick(self, items, least, most):
        return [self.rng.choice(items) for _ in range(self.rng.randint(least, most))]

    def shuffled(self, words):
        """A few changes: words moved, doubled, dropped, replaced, inflected."""
        words = list(words)
        for _ in range(self.rng.randint(0, 5)):
            if not words:
                break
            place, other = self.rng.randrange(len(words)), self.rng.randrange(len(words))
            change = self.rng.randrange(6)
            if change == 0:
                words[place], words[other] = words[other], words[place]
            elif change == 1:
                words.insert(other, words[place])
            elif change == 2:
                del words[place]
            elif change == 3:
                words[place] = self.rng.choice(self.words)
            elif change == 4:
                words[place] += self.rng.choice(["s", "es", "ed", "ing", "er", "est", "ly", "'s", "."])
            else:
                start, end = sorted((place, other))
                words = words[end:] + words[start:end] + words[:start]
        return words

    def draw_captions(self):
        references = self.pick(self.english, 1, 5)
        return " ".join(self.shuffled(self.rng.choice(references).split())), references

    def draw_word_soup(self):
        return tuple(" ".join(self.pick(self.words, 0, 14)) for _ in range(2))

    def draw_repeated(self):
        alphabet = LETTERS[: self.rng.randint(1, len(LETTERS))]
        return tuple(" ".join(self.pick(alphabet, 0, 14)) for _ in range(2))

    def draw_long(self):
        words = self.pick(self.words[: self.rng.randint(5, len(self.words))], 60, 220)
        return " ".join(self.shuffled(words)), " ".join(self.shuffled(words))

    def draw_paraphrases(self):
        sides = ([], [])
        for pair in self.pick(self.paraphrases, 1, 5):
            pair = pair if self.rng.random() < 0.5 else pair[::-1]
            for side, phrase in zip(sides, pair):
                side += phrase.split() + (self.pick(self.words, 0, 2) if self.rng.random() < 0.5 else [])
        if self.rng.random() < 0.3:
            sides = (self.shuffled(sides[0]), sides[1])
        return tuple(" ".join(side) for side in sides)

    def draw_synonyms(self):
        sides = ([], [])
        for group in self.pick(self.synonyms, 1, 7):
            for side, word in zip(sides, self.rng.sample(group, 2)):
                side.append(word + self.rng.choice(["", "", "s", "ing", "ed", "er"]))
                side += self.pick(self.words, 0, 1)
        return " ".join(sides[0]), " ".join(self.shuffled(sides[1]))

    def draw_odd_strings(self):
        sides = []
        for _ in range(2):
            parts = self.pick(ODD, 0, 12)
            sides.append("".join(part + self.rng.choice(["", "", " ", "  "]) for part in parts))
        sides.append(sides[0].replace(" ", "", 1))
        candidate = self.rng.choice(sides)
        return candidate, sides

    def draw_whole_tokens(self):
        words = self.pick(WHOLE + self.words[:20], 1, 12)
        return " ".join(self.shuffled(words)), [" ".join(words), " ".join(self.shuffled(words))]

    def draw_chinese(self):
        references = self.pick(self.chinese, 1, 5)
        words = list(self.rng.choice(references))
        return "".join(self.shuffled(words)), references

    def draw_empty_or_punctuation(self):
        marks = ["", " ", ".", "...", ",", "!", "?", ";", "-", "--", "'", "\"", "a", "||", "。", "，"]
        return tuple(" ".join(self.pick(marks, 0, 3)) for _ in range(2))

    def cases(self, count):
        names = sorted(self.kinds)
        for number in range(count):
            kind = names[number % len(names)]
            candidate, references = self.kinds[kind]()
            references = [references] if isinstance(references, str) else references
            yield kind, candidate, references


def abbreviations(jar):
    """Matches what keeps its dot in the jar, and only there."""
    with zipfile.ZipFile(jar) as archive:
        lines = archive.read("nonbreaking/english.prefixes").decode().splitlines()
    words = {line.split("#")[0].strip() for line in lines} - {""}
    return re.compile(r"(?<!\w)(" + "|".join(map(re.escape, sorted(words))) + r")\.(?!\w)", re.ASCII)


def protocol_line(candidate, references):
    candidate = candidate.replace("|||", "").replace("  ", " ")
    return " ||| ".join(["SCORE", " ||| ".join(references), candidate])


def run(command, lines, folder):
    result = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, encoding="utf-8", cwd=folder)
    if result.returncode != 0:
        sys.exit(f"{command[0]} failed: {result.stderr[-2000:]}")
    return result.stdout.splitlines()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jar", type=pathlib.Path)
    parser.add_argument("--cases", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=10, help="differing cases to print")
    parser.add_argument("--exact-stem", action="store_true")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()) / "meteor-paraphrases.bin")
    options = parser.parse_args()
    jar = options.jar.resolve()

    cases = list(Drawer(jar, options.seed).cases(options.cases))
    if options.exact_stem:
        abbreviation = abbreviations(jar)
        kept = [case for case in cases if not abbreviation.search(" ".join([case[1], *case[2]]))]
        print(f"{len(cases) - len(kept)} cases with an abbreviation left out")
        cases = kept
    lines = [protocol_line(candidate, references) for _, candidate, references in cases]
    official = ["java", "-Dfile.encoding=UTF-8", "-Xmx2G", "-jar", jar.name, "-", "-", "-stdio", "-l", "en", "-norm"]
    ours = ["cargo", "run", "--release", "-q", "-p", "caption-metrics", "--no-default-features", "--example", "meteor_statistics", "--"]
    with tempfile.NamedTemporaryFile(suffix=".words") as no_words:
        if options.exact_stem:
            official += ["-m", "exact stem", "-s", no_words.name]
            ours += ["--without-resources"]
        else:
            ours += [str(jar), str(options.cache)]
        expected = run(official, lines, jar.parent)
        found = run(ours, lines, ROOT)
    if not len(expected) == len(found) == len(lines):
        sys.exit(f"{len(lines)} cases, but {len(expected)} and {len(found)} answers")

    totals, different = collections.Counter(), collections.Counter()
    for (kind, _, _), line, theirs, mine in zip(cases, lines, expected, found):
        totals[kind] += 1
        if theirs.split() != mine.split():
            different[kind] += 1
            if sum(different.values()) <= options.show:
                print(f"{kind}: {line!r}\n  jar  {theirs}\n  ours {mine}")
    for kind in sorted(totals):
        print(f"{kind:24} {totals[kind] - different[kind]} of {totals[kind]} equal")
    print(f"{'all':24} {sum(totals.values()) - sum(different.values())} of {sum(totals.values())} equal")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
