"""Counting words: files in, counters out, merged as they come; then a search that stops at the first find."""

import os
import re
import sys
import tempfile
from collections import Counter

from joblib import Parallel, delayed

VOICES = ["the cat sat on the mat", "a cat may look at a king", "the king was in his counting house"]


def write_texts(folder, n):
    for i in range(n):
        with open(os.path.join(folder, f"text{i:02}.txt"), "w", encoding="utf-8") as file:
            file.write("\n".join(VOICES[(i + j) % 3].title() for j in range(i + 1)) + " — fin\n")


def count_words(path):
    with open(path, encoding="utf-8") as file:
        return Counter(re.findall(r"\w+", file.read().lower()))


def longest_line(path, *, ignore=()):
    with open(path, encoding="utf-8") as file:
        lines = (line.strip() for line in file)
        return max((line for line in lines if line not in ignore), key=len)


def is_prime(n):
    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))


def main():
    with tempfile.TemporaryDirectory() as folder:
        write_texts(folder, 12)
        paths = sorted(os.path.join(folder, name) for name in os.listdir(folder))

        words = Counter()
        for counts in Parallel(n_jobs=2, return_as="generator_unordered")(delayed(count_words)(p) for p in paths):
            words.update(counts)
        print(sorted(words.items(), key=lambda item: (-item[1], item[0]))[:5], sum(words.values()))

        for prefer in (None, "threads"):
            lines = Parallel(n_jobs=2, prefer=prefer)(delayed(longest_line)(p, ignore=VOICES[:1]) for p in paths[:4])
            print(lines)

    candidates = range(10**6, 10**6 + 400)
    results = Parallel(n_jobs=2, return_as="generator")(delayed(is_prime)(n) for n in candidates)
    for n, prime in zip(candidates, results, strict=False):
        if prime:
            print("first prime:", n)
            break
    results.close()
    return 3


if __name__ == "__main__":
    sys.exit(main())
