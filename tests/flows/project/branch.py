from actors import Counter, clean, store, urgent


def branch(p: dict) -> dict:  # asya: flow
    counter = Counter()
    p = clean(p)
    if p["level"] > 5:
        p = urgent(p)
    elif p["level"] > 2:
        p = counter.routine(p)
    else:
        p["ignored"] = True
        return p
    p = store(p)
    return p
