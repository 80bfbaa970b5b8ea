"""Small models of libraries that start threads, for bench/preload.py. Run with a name it writes what would be trained
elsewhere; `load()` reads it as a function's module does while it is imported, and returns what answers a request."""
import os
import sys

SIZE = 500 << 20


def numpy(use):
    import numpy

    array = numpy.ones(SIZE // 8)
    half = numpy.arange(640 * 640, dtype="f8").reshape(640, 640) % 7
    answer = lambda n: float((half @ (half + n)).sum() + array[:: 1 << 16].sum())
    return answer


def _rows():
    import numpy

    rows = numpy.random.RandomState(1).rand(4000, 8)
    return rows, (rows[:, 0] + rows[:, 1] * rows[:, 2] > 0.8).astype(int)


def sklearn_prepare():
    import pickle

    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    models = [model.fit(*_rows()) for model in (RandomForestClassifier(50, n_jobs=2, random_state=1), LogisticRegression())]
    with open("sklearn.pickle", "wb") as file:
        pickle.dump(models, file)


def sklearn_hist_prepare():
    import pickle

    from sklearn.ensemble import HistGradientBoostingClassifier

    with open("sklearn-hist.pickle", "wb") as file:
        pickle.dump([HistGradientBoostingClassifier(random_state=1).fit(*_rows())], file)


sklearn_fit_prepare = sklearn_prepare


def _sklearn(name):
    import pickle

    rows = _rows()[0]
    with open(name, "rb") as file:
        models = pickle.load(file)
    return lambda n: sum(float(model.predict_proba(rows[n:n + 2000])[:, 1].sum()) for model in models)


def sklearn(use):
    return _sklearn("sklearn.pickle")


def sklearn_hist(use):
    return _sklearn("sklearn-hist.pickle")


def sklearn_fit(use):
    """RandomForest (threads of joblib) and LogisticRegression, fitted while the module is imported."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    rows, labels = _rows()
    if not use:
        return sklearn(use)
    models = [model.fit(rows, labels) for model in (RandomForestClassifier(50, n_jobs=2, random_state=1), LogisticRegression())]
    return lambda n: sum(float(model.predict_proba(rows[n:n + 2000])[:, 1].sum()) for model in models)


def _joblib(backend):
    import joblib

    return lambda n: sum(joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(pow)(n, k) for k in range(4)))


def joblib_threads(use):
    return _joblib("threading")


def joblib_loky(use):
    return _joblib("loky")


def xgboost_prepare():
    import xgboost

    rows, labels = _rows()
    xgboost.train({"max_depth": 4, "objective": "binary:logistic"}, xgboost.DMatrix(rows, labels), 20).save_model("xgb.json")


def xgboost(use):
    import xgboost

    rows, model = _rows()[0], xgboost.Booster(model_file="xgb.json")
    return lambda n: float(model.predict(xgboost.DMatrix(rows[n:n + 2000])).sum())


def _field(number, value):
    """Of a message in the wire format of protocol buffers; all here are shorter than 16 MiB."""
    def varint(n):
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnxruntime_prepare():
    """y = x @ w, 512 by 512."""
    import numpy

    w = (numpy.arange(512 * 512, dtype="<f4") % 13).tobytes()
    shape = _field(1, _field(1, 512)) * 2
    value = lambda name: _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, shape)))
    node = _field(1, "x") + _field(1, "w") + _field(2, "y") + _field(4, "MatMul")
    weights = _field(1, 512) * 2 + _field(2, 1) + _field(8, "w") + _field(9, w)
    graph = _field(1, node) + _field(2, "g") + _field(5, weights) + _field(11, value("x")) + _field(12, value("y"))
    with open("model.onnx", "wb") as file:
        file.write(_field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13)))


def onnxruntime(use):
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("ORT_THREADS", "0"))  # 0: as many as processors
    session = onnxruntime.InferenceSession("model.onnx", options, providers=["CPUExecutionProvider"])
    ones = numpy.ones((512, 512), "f4")
    return lambda n: float(session.run(None, {"x": ones * (n % 5)})[0][0].sum())


def _texts(n):
    return ["the quick brown fox %d jumps over the lazy dog %d" % (n, k) for k in range(64)]


def tokenizers_prepare():
    import tokenizers

    made = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.train_from_iterator(_texts(1), tokenizers.trainers.BpeTrainer(vocab_size=200, special_tokens=["?"]))
    made.save("tokenizer.json")


def tokenizers(use):
    import tokenizers

    made = tokenizers.Tokenizer.from_file("tokenizer.json")
    return lambda n: sum(sum(one.ids) for one in made.encode_batch(_texts(n)))


def polars(use):
    import polars

    frame = polars.DataFrame({"a": list(range(200000)), "b": [k % 7 for k in range(200000)]}) if use else None

    def answer(n):
        nonlocal frame
        if frame is None:
            frame = polars.DataFrame({"a": list(range(200000)), "b": [k % 7 for k in range(200000)]})
        found = frame.lazy().filter(polars.col("a") > n).group_by("b").agg(polars.col("a").sum()).sort("b").collect()
        return int(found["a"].sum())

    return answer


def torch_prepare():
    import torch

    torch.manual_seed(1)
    torch.save(torch.nn.Linear(1024, 1024).state_dict(), "torch.pt")


def torch(use):
    import torch

    if "TORCH_THREADS" in os.environ:
        torch.set_num_threads(int(os.environ["TORCH_THREADS"]))
    if "TORCH_FORKED" in os.environ:
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(int(os.environ["TORCH_FORKED"])))
    model = torch.nn.Linear(1024, 1024)
    model.load_state_dict(torch.load("torch.pt"))
    model.eval()

    def answer(n):
        with torch.inference_mode():
            return round(float(model(torch.full((512, 1024), 1.0 + n % 5)).relu().mean()), 4)

    return answer


def load(name, use):
    answer = globals()[name](use)
    if use:
        answer(0)
    return answer


if __name__ == "__main__":
    globals().get(sys.argv[1] + "_prepare", lambda: None)()
