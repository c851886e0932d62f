"""Gives a service the items of the demo and a little behaviour, trains it, and asks the cases: ask.py URL with|without (genres and tags) PROVIDER."""

import csv
import json
import pathlib
import random
import sys
import time
import urllib.request

url, labels, provider = sys.argv[1:]
root = pathlib.Path(__file__).resolve().parents[2]


def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data=data, method=method)
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


items, truth = [], {}
for domain in ("music", "movie", "game"):
    with open(root / f"src/demo/catalogue/{domain}.tsv", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)):
            names = lambda key: [name for name in (row[key] or "").split("|") if name]
            item = {"id": f"{domain}-{number}", "domain": domain, "title": row["title"], "creators": names("creators")}
            if row["description"]:
                item["description"] = row["description"]
            if labels == "with":
                item |= {"genres": names("genres"), "tags": names("tags")}
            truth[item["id"]] = {label.lower() for label in names("genres") + names("tags")}
            items.append(item)
for start in range(0, len(items), 500):
    call("POST", "/api/items", items[start:start + 500])
draw = random.Random(7)
ids = [item["id"] for item in items]
events = [{"user_id": f"u{user}", "item_id": item, "type": "like"} for user in range(100) for item in draw.sample(ids, 10)]
call("POST", "/api/events", {"events": events})
job = call("POST", "/api/models/train")
while job["state"] == "running":
    time.sleep(0.5)
    job = call("GET", f"/api/jobs/{job['id']}")
assert job["state"] == "succeeded", job
while call("POST", "/api/recommend", {})["model"]["version"] != job["result"]["version"]:
    time.sleep(0.1)

cases = json.loads((root / "tests/support/free_text.json").read_text(encoding="utf-8"))
found = {True: [], False: []}
for case in cases:
    answer = call("POST", "/api/recommend", {case["domain"]: [case["text"]], "domains": [case["domain"]], "limit": 10})
    assert not answer["degraded"], answer["degraded"]
    hits = [bool(truth[item["item_id"]] & set(case["labels"])) for item in answer[case["domain"]]]
    found[case["text"].isascii()].append(sum(hits) / 10)
mean = lambda values: sum(values) / len(values)
asked = next((row["requests"] for row in call("GET", "/api/providers")["data"] if row["name"] == provider), 0)
print(f"{labels:<8} genres and tags, provider {provider:<5} precision@10 {mean(found[True] + found[False]):.3f}  English {mean(found[True]):.3f}  "
      f"Chinese {mean(found[False]):.3f}  ({asked} requests to it)", flush=True)
