"""A scikit-learn classifier, trained when the worker starts: handwritten digits, 8 x 8 pixels.

    pip install scikit-learn
    ASYA_PROCESS_MODULE=classifier:Digits.classify python3 asya_runtime.py

Send {"pixels": [0, 0, 5, 13, ...64 numbers from 0 to 16...]} and get {"digit": 3, "probabilities": [...]}. Numbers of numpy are
written as numbers.
"""

import numpy
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

TRAINED_ON = 1400  # of the 1,797 digits that come with scikit-learn; the rest tells how good it is


class Digits:
    """A real service would load a trained model here; this one takes a fraction of a second to train."""

    def __init__(self):
        digits = load_digits()
        self.model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
        self.model.fit(digits.data[:TRAINED_ON], digits.target[:TRAINED_ON])

    def classify(self, payload: dict) -> dict:
        """The digit, and how likely each of the ten is."""
        pixels = numpy.asarray(payload.get("pixels"), dtype=float)
        if pixels.shape != (64,):
            raise ValueError(f"pixels must be 64 numbers, not of shape {pixels.shape}")
        [probabilities] = self.model.predict_proba([pixels])
        return {"digit": probabilities.argmax(), "probabilities": probabilities}
