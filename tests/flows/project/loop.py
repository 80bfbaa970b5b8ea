from actors import clean, draft, review, store


def loop(p: dict) -> dict:  # asya: flow
    p = clean(p)
    p["rounds"] = 0
    while p["rounds"] < 5:
        p["rounds"] += 1
        p = draft(p)
        p = review(p)
        if p["good"]:
            break
        if p["rounds"] == 1:
            continue
        p["late"] = True
    p = store(p)
    return p
