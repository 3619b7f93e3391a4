"""Holds the PTB-compatible tokeniser against Stanford's own on drawn captions.

Usage, from the root of the repository, with Java and the jar that comes with `pip install pycocoevalcap`:

    python reference/compare_ptb.py PATH/TO/stanford-corenlp-3.4.1.jar [--captions 100000] [--seed 1] [FILE ...]

Captions are drawn from phrases that the tokeniser has rules for, some then mutated by a character; FILEs hold further
captions, one a line. Prints the first lines that differ and how many do; exits with 1 if any does. Only the program is
run, nothing of it is read.
"""

import argparse
import itertools
import random
import subprocess
import sys
import tempfile
from pathlib import Path

SUBJECTS = """A man|Two dogs|a woman|An elephant|I|They|We|he|This|There|A black-and-white photo|A 10-year-old boy
the U.S. President|Mr. Smith|St. Nicholas|a baseball player's bat|A t-shirt|a T.V.|Ryan O'Neill|James'|the boys'
一只狗|两个人|Le café""".replace("\n", "|").split("|")
VERBS = """is sitting on|are standing near|'s holding|'re eating|don't like|isn't in front of|can't see|'ll play with|'ve got
with|next to|that says|cannot reach|is gonna eat|wanna ride|has|of|and|should've seen|couldn't've had|在|’s""".replace(
    "\n", "|"
).split("|")
OBJECTS = """a wave|a red bus|"STOP"|'stop'|a stop sign that says "whoa"|tennis|a 6" sub|#1|No. 5|fig. 3|5th Ave.|Main St.
Washington D.C.|L.A.|the U.K. flag|Apple Inc.|Macy's|Dunkin' Donuts|Krispy Kreme (donuts)|AT&T|M&M's|$5.00|$1,000|£20|€5
50% off|10:30|10:30 a.m.|5 p.m.|12:00pm|7 o'clock|1990's|the '80s|1/2|1 1/2 cups|2x4|6 ft. tall|12 in. pizza|30 mph|8 oz.
a 747|Boeing 737-800|F-16|#42 jersey|his/her phone|and/or|w/ cheese|mid-air|state-of-the-art|half - eaten|www.flickr.com
http://bit.ly/abc|flickr.com/photos|IMG_1234.jpg|photo.jpg|me@home.com|@user|#skiing|555-1212|(555) 123-4567|555 123 4567
Jan. 5|Dec. 25, 2014|12/25/2014|2014-05-06|etc.|e.g. dogs|vs. cats|Jr.|Mt. Everest|J.K. Rowling|vitamin C.|plan B.
rock 'n' roll|'em|'til dawn|ol' truck|y'all|ma'am|s'mores|café|Dvořák|😀|❤️|☺|:)|;)|:D|<3|^_^|-|--|---|...|..|....|!|!!
?!|&|+|=|*|~|a|I|B|<b>bold</b>|&amp;|5-6|1-2 people|24/7|3-D|iPhone 6|TV's|DVD/VCR|salt & pepper|25 °C|2nd|U.S.-based
non-U.S.|mother-in-law's|O'Hare|L'Oreal|Wendy's/Arby's|aren’t|it’s|“quote”|‘quote’|don`t|©2012|Coca-Cola®|½|…|—|5–6
一个男人|红色的车|T恤|3个人|C++|Co.|Bros.|Rd. sign|Prof. X|Gov.|Mass.|Calif.|Miss.|La.|Sat.|Mon.|Oct. 31|a.k.a.|Ph.D.
a\\/b|3 1\\/2 cups|AC\\/DC|4'x8'|6'2"|(left|right)|[x]|{y}|'s|s'""".replace("\n", "|").split("|")
ENDS = ".|.|.|.|| .|. |!|?|...|..|,|;|:|\".|.\"|)|!!| !|.)|'|-|。".split("|")
MUTATIONS = " .'\",-!?/()&0aA1$%:;"

ADDRESSES = """http://bit.ly/abc|https://x.yz|www.flickr.com|www.fli|flickr.com/photos|flickr.com|fli|me@home.com|me@ho|<me@x.y
http://|photo.com/|a.b""".replace("\n", "|").split("|")
AFTER_ADDRESSES = [*"{}|()<>[]`'\"$_;:&\\^.,!?-/ \t", *"\u3000\xa0\u2003\u202f\u1680\u200b\ufeff\xad中é😀\ufffe\ue000\x01\x7f"]


def draw(count, seed):
    """Captions of one to three phrases each."""
    chance = random.Random(seed)
    for number in range(count):
        if number % 50 == 0:
            # An address, then characters that may end it.
            pieces = [chance.choice(ADDRESSES)]
            for _ in range(chance.randint(1, 4)):
                pieces += [chance.choice(AFTER_ADDRESSES), chance.choice(["", "x", "xy", ".com", "/ab", "a b"])]
            yield "".join(pieces)
            continue
        caption = chance.choice(SUBJECTS)
        for _ in range(chance.randint(1, 3)):
            verb = chance.choice(VERBS)
            caption += verb if verb[0] in "'’" else " " + verb
            caption += " " + chance.choice(OBJECTS) + (chance.choice(ENDS) if chance.random() < 0.25 else "")
        caption += chance.choice(ENDS)
        if chance.random() < 0.05:
            caption = caption.upper()
        if chance.random() < 0.1:
            place = chance.randrange(len(caption))
            caption = caption[:place] + chance.choice(MUTATIONS) + caption[place + chance.randint(0, 1) :]
        yield caption


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jar")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--captions", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=20)
    options = parser.parse_args()
    captions = list(draw(options.captions, options.seed))
    for file in options.files:
        captions += file.read_text(encoding="utf-8").split("\n")
    document = "\n".join(captions).encode()
    java = ["java", "-cp", options.jar, "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(document)
        file.flush()
        theirs = subprocess.run([*java, file.name], capture_output=True, check=True).stdout.decode().split("\n")
    cargo = "cargo run --quiet --release -p caption-metrics --no-default-features --example ptb_lines".split()
    ours = subprocess.run(cargo, input=document, stdout=subprocess.PIPE, check=True).stdout.decode().split("\n")
    lines = itertools.zip_longest(captions, theirs, ours)
    differing = [line for line in lines if line[1] != line[2]]
    for caption, reference, tokens in differing[: options.show]:
        print(f"caption   {caption!r}\nreference {reference!r}\nours      {tokens!r}\n")
    print(f"{len(captions)} captions compared, {len(differing)} differ")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
