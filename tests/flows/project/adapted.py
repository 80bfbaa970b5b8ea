from actors import clean, store, weather


def adapted(p: dict) -> dict:  # asya: flow
    p = clean(p)
    p["report"] = weather(p["text"])
    p = store(p)
    return p
