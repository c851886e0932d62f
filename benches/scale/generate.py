"""A synthetic catalogue and its interactions: items.ndjson and events.csv in a folder.

Items and people follow power laws. Each item belongs to one of 500 circles, whose number shows in its genre and tags; most of what a person takes to comes from
three of them. The same numbers and seed make the same files.

    generate.py FOLDER ITEMS INTERACTIONS
"""
import itertools
import json
import random
import sys
import time
from pathlib import Path

CIRCLES = 500
PER_PERSON = 20
DOMAINS = ("music", "movie", "game")
YEAR = 365 * 86_400
START = 1_700_000_000


def zipf(count, exponent=0.9):
    """Cumulative weights of ranks 1 to count."""
    return list(itertools.accumulate(1 / rank**exponent for rank in range(1, count + 1)))


def main(folder, items, interactions):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(7)
    with open(folder / "items.ndjson", "w") as out:
        for item in range(items):
            circle = item % CIRCLES
            out.write(json.dumps({
                "id": f"i{item}", "domain": DOMAINS[circle % 3], "title": f"Title {item}", "genres": [f"genre {circle % 40}"],
                "tags": [f"circle {circle}", f"mood {draw.randrange(30)}"]}) + "\n")
    # An item's popularity falls with its number, within its circle and over all.
    within = zipf(items // CIRCLES)
    lengths = random.Random(8)
    written, person = 0, 0
    with open(folder / "events.csv", "w") as out:
        out.write("event_id,user_id,item_id,type,at\n")
        while written < interactions:
            length = min(max(1, int(lengths.paretovariate(1.2) * PER_PERSON / 6)), 2_000, interactions - written)
            circles = [draw.randrange(CIRCLES) for _ in range(3)] + [draw.randrange(CIRCLES)]
            ranks = draw.choices(range(len(within)), cum_weights=within, k=length)
            moment = START + draw.randrange(YEAR)
            for n, rank in enumerate(ranks):
                circle = circles[draw.randrange(4)]
                at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment + n * 3600))
                out.write(f"e{written + n},u{person},i{rank * CIRCLES + circle},play,{at}\n")
            written += length
            person += 1
    print(f"{items} items, {person} people, {written} interactions")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
