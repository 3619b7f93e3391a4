"""Scores generated pictures by questions about them, as DPG-Bench does.

    python picture_scores.py MODEL QUESTIONS.csv

The table has the columns picture, id, question and needs: a question counts only where the one that it needs is answered with yes.
Prints every answer, and each picture's share of questions that are answered with yes.
"""

import csv
import sys
from collections import defaultdict

from PIL import Image

from mplug_rs.modelscope.pipelines import pipeline
from mplug_rs.modelscope.utils.constant import Tasks


class Judge:
    def __init__(self, ckpt: str, device: str = "gpu") -> None:
        self.pipeline_vqa = pipeline(Tasks.visual_question_answering, model=ckpt, device=device)

    def vqa(self, image: Image.Image, question: str) -> str:
        result = self.pipeline_vqa({"image": image, "question": question})
        return str(result["text"])


def main(model: str, table: str) -> None:
    questions = defaultdict(list)
    with open(table, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            questions[row["picture"]].append(row)
    judge = Judge(model)
    for path, rows in questions.items():
        image = Image.open(path)
        is_yes = {"": True}
        for row in rows:
            answer = judge.vqa(image, row["question"])
            print(answer)
            is_yes[row["id"]] = answer == "yes" and is_yes[row["needs"]]
        print(f"{path}: {sum(is_yes[row['id']] for row in rows) / len(rows):.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
