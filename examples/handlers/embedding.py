"""Sentence embeddings by a model whose weights come in a Python package: nothing is downloaded.

    pip install wordllama
    ASYA_PROCESS_MODULE=embedding:Embedder.embed python3 asya_runtime.py

Send {"texts": ["A cat sleeps.", "A kitten naps."]} and get {"dimensions": 256, "vectors": [[...], [...]]}. The vectors are
a numpy array; the runtime writes it as it is.
"""

import pathlib

import wordllama

MAX_TEXTS = 1000


class Embedder:
    """Loads the model once, before the first message is taken."""

    def __init__(self):
        # the package looks for its tokenizer in a cache before it downloads it: let it find the one it brings
        package = pathlib.Path(wordllama.__file__).parent
        self.model = wordllama.WordLlama.load(cache_dir=package, disable_download=True)

    def embed(self, payload: dict) -> dict:
        """One vector of length 1 for each text."""
        texts = payload.get("texts")
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError("texts must be a list of strings")
        if not 1 <= len(texts) <= MAX_TEXTS:
            raise ValueError(f"there must be 1 to {MAX_TEXTS} texts, not {len(texts)}")
        vectors = self.model.embed(texts, norm=True)
        return {"dimensions": vectors.shape[1], "vectors": vectors}
