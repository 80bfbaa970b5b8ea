from actors import classify, clean, store


async def sequence(p: dict) -> dict:  # asya: flow
    p["seen"] = []
    p = clean(p)
    p["seen"] += ["cleaned"]
    p = await classify(p)
    p = store(p)
    p["seen"] += ["stored"]
    return p
