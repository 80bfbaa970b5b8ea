from actors import clean, score, shout, store


def spread(p: dict) -> dict:  # asya: flow
    p = clean(p)
    p["scores"] = [score(line) for line in p["lines"]]
    p["count"] = len(p["scores"])
    p["found"]["both"] = [score(p["text"]), shout(p["text"])]
    p = store(p)
    return p
