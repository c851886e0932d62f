"""The splits that the models are measured on, each with the split inside its training part that everything is chosen on."""
import csv
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

SHARE = 0.2
PERIODS = 3


@dataclass
class Split:
    """What models learn from, and whom they are asked for. Strengths are signed, above 0 for what was liked."""

    train: sp.csr_matrix  # people by items
    histories: sp.csr_matrix  # cases by items
    relevant: sp.csr_matrix  # cases by items, 1 for what is to be foreseen
    people: np.ndarray  # whose case it is, for intervals
    rows: np.ndarray  # which row of `train` is the same person's, or -1
    # Only where there is an order in time; item columns and times (seconds), oldest first, of what was liked.
    sequences: list = field(default_factory=list)  # by row of `train`
    asked: list = field(default_factory=list)  # by case
    validation: "Split | None" = None


def matrix(rows, items):
    """Rows of (column, value)."""
    columns = [[column for column, _ in row] for row in rows]
    values = [value for row in rows for _, value in row]
    starts = np.cumsum([0] + [len(row) for row in columns])
    return sp.csr_matrix((np.array(values, np.float32), np.concatenate(columns).astype(int) if values else [], starts), shape=(len(rows), items))


def rating_strengths(ratings):
    """(item, rating, ...) rows; gives what a rating says, by its distance to the person's mean, as the engine has it."""
    mean = (sum(row[1] for row in ratings) + 3 * 2.75) / (len(ratings) + 3)
    return [0.6 + 0.4 * (row[1] - mean) / 0.9 for row in ratings]


def ratings_of(folder):
    """By person: (item column, rating, time), oldest first; and how many items there are."""
    with open(f"{folder}/ml-latest-small/ratings.csv") as file:
        rows = [(row["userId"], row["movieId"], float(row["rating"]), int(row["timestamp"])) for row in csv.DictReader(file)]
    items = {item: n for n, item in enumerate(sorted({row[1] for row in rows}))}
    people = defaultdict(list)
    for person, item, rating, time in rows:
        people[person].append((items[item], rating, time))
    for ratings in people.values():
        ratings.sort(key=lambda row: (row[2], row[0]))
    return dict(sorted(people.items())), len(items)


def random_split(people, items, seed, depth=1):
    """`people`: rows of (item column, strength). A fifth of what each person likes is hidden, item by item."""
    draw = np.random.default_rng(seed)
    kept, hidden = [], []
    for row in people:
        out = [value > 0 and draw.random() < SHARE for _, value in row]
        kept.append([entry for entry, is_out in zip(row, out) if not is_out])
        hidden.append([(column, 1) for (column, _), is_out in zip(row, out) if is_out])
    return published_split(kept, hidden, items, seed, depth)


def published_split(kept, hidden, items, seed, depth=1):
    asked = np.array([n for n in range(len(kept)) if kept[n] and hidden[n]])
    train = matrix(kept, items)
    relevant = matrix([hidden[n] for n in asked], items)
    validation = random_split(kept, items, seed + 1, depth - 1) if depth else None
    return Split(train, train[asked], relevant, asked, asked, validation=validation)


def temporal_split(people, items, depth=1):
    """The last fifth of all interactions is to be foreseen, asked for at the cut and once more in the middle of what a person did after it."""
    times = sorted(row[2] for ratings in people.values() for row in ratings)
    cut = times[int((1 - SHARE) * len(times))]
    before = {person: [row for row in ratings if row[2] < cut] for person, ratings in people.items()}
    before = {person: ratings for person, ratings in before.items() if ratings}
    row_of = {person: n for n, person in enumerate(before)}
    cases = []
    for person, ratings in people.items():
        # What is relevant is liked all in all, so the whole may judge it; what is known may not.
        liked = {row[0] for row, strength in zip(ratings, rating_strengths(ratings)) if strength > 0}
        later = [row[2] for row in ratings if row[2] >= cut]
        if not later:
            continue
        middle = later[len(later) // 2]
        for moment in [cut] + [middle] * (len(later) >= 4 and middle > later[0]):
            known = [row for row in ratings if row[2] < moment]
            wanted = {row[0] for row in ratings if row[2] >= moment and row[0] in liked}
            if known and wanted:
                cases.append((person, known, wanted, moment))
    known = lambda ratings: [(row[0], strength) for row, strength in zip(ratings, rating_strengths(ratings))]
    in_order = lambda ratings: [(row[0], row[2]) for row, strength in zip(ratings, rating_strengths(ratings)) if strength > 0]
    numbers = {person: n for n, person in enumerate(people)}
    return Split(
        train=matrix([known(ratings) for ratings in before.values()], items),
        histories=matrix([known(case[1]) for case in cases], items),
        relevant=matrix([[(item, 1) for item in sorted(case[2])] for case in cases], items),
        people=np.array([numbers[case[0]] for case in cases]),
        rows=np.array([row_of.get(case[0], -1) for case in cases]),
        sequences=[in_order(ratings) for ratings in before.values()],
        asked=[(in_order(case[1]), case[3]) for case in cases],
        validation=temporal_split(before, items, depth - 1) if depth else None,
    )


def counts(rows):
    """(person, item, count) rows, counts of one pair summed; gives people, as rows of (item column, strength), and items."""
    totals = defaultdict(float)
    for person, item, count in rows:
        totals[person, item] += count
    items = {item: n for n, item in enumerate(sorted({item for _, item in totals}))}
    people = defaultdict(list)
    for (person, item), count in sorted(totals.items()):
        people[person].append((items[item], 0.6 * np.log2(1 + count)))
    return dict(people), items


def splits(folder):
    """Yields (name, split), one at a time, as they are large."""
    people, items = ratings_of(folder)
    split = temporal_split(people, items, depth=PERIODS)
    for period in ("the last fifth in time", "the fifth of what was before", "the fifth of what was before that"):
        yield f"ml-latest-small, {period}", split
        split = split.validation
    ratings = [[(row[0], strength) for row, strength in zip(rows, rating_strengths(rows))] for rows in people.values()]
    yield "ml-latest-small, random", random_split(ratings, items, seed=42)
    with open(f"{folder}/steam/steam-200k.csv") as file:
        # Each game has a line for its purchase and one for the hours played; hours are what the engine's import counts most by.
        people, items = counts((row[0], row[1], float(row[2])) for row in csv.reader(file) if row[0] != "user-id")
    yield "Steam, random", random_split(list(people.values()), len(items), seed=42)
    read = lambda name: [line.split() for line in open(f"{folder}/lastfm-selfrec/{name}.txt")]
    train, test = read("train"), read("test")
    people, items = counts((person, item, float(plays)) for person, item, plays in train)
    # Items that training never saw count as missed.
    for _, item, _ in test:
        items.setdefault(item, len(items))
    hidden = defaultdict(list)
    for person, item, _ in test:
        hidden[person].append((items[item], 1))
    yield "Last.fm, published split", published_split(list(people.values()), [hidden[person] for person in people], len(items), seed=42)
