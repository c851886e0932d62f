"""Judges rankings with ir-measures (trec_eval).

    python reference.py CASES

CASES has one JSON object a line: {"ranked": [ids, best first], "relevant": [ids], "k": 1..}. Printed is one JSON object a line, in the same
order: the value of each metric at k. A case that ir-measures has no value for is an error, not a 0.
"""

import collections
import json
import sys

import ir_measures
from ir_measures import AP, RR, P, Qrel, R, ScoredDoc, Success, nDCG

METRICS = {"ndcg": nDCG, "recall": R, "reciprocal_rank": RR, "hit_rate": Success, "precision": P, "average_precision": AP}


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = [json.loads(line) for line in file]
    by_k = collections.defaultdict(list)
    for number, case in enumerate(cases):
        by_k[case["k"]].append((str(number), case))
    judged = {}
    for k, group in by_k.items():
        measures = {metric @ k: name for name, metric in METRICS.items()}
        # A person without relevant items is told to trec_eval by an item that is judged and is not relevant.
        qrels = [
            Qrel(number, str(item), grade)
            for number, case in group
            for item, grade in ([(item, 1) for item in case["relevant"]] or [("none", 0)])
        ]
        # Scores are small integers: trec_eval reads them as floats, and orders equal ones by name.
        run = [
            ScoredDoc(number, str(item), float(len(case["ranked"]) - place))
            for number, case in group
            for place, item in enumerate(case["ranked"])
        ]
        for metric in ir_measures.iter_calc(list(measures), qrels, run):
            judged[int(metric.query_id), measures[metric.measure]] = metric.value
    for number in range(len(cases)):
        print(json.dumps({name: judged[number, name] for name in METRICS}))


if __name__ == "__main__":
    main()
