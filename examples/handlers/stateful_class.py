"""Load a model once, use it for every message: a class whose method is the function.

Run from this folder:

    ASYA_SOCKET_PATH=/tmp/asya.sock ASYA_PROCESS_MODULE=stateful_class:Model.predict python3 ../../dist/asya_runtime.py

Send {"features": [5.1, 3.5]} and get {"label": "setosa", "distance": 0.1184, "served": 1}.

The class is made once, before the first message is accepted; its constructor must work without arguments.
"""

import math
import os


class Model:
    """A nearest-centroid classifier: small enough to read, with the shape of a real model."""

    def __init__(self, name: str = os.environ.get("MODEL_NAME", "iris")):
        self.name = name
        self.centroids = self.load_weights()
        self.served = 0

    def load_weights(self) -> dict:
        """A real model would read its weights from a file here, which may take minutes."""
        return {"setosa": (5.006, 3.428), "versicolor": (5.936, 2.770), "virginica": (6.588, 2.974)}

    def predict(self, payload: dict) -> dict:
        """The class whose centroid is nearest to the features."""
        features = payload["features"]
        if len(features) != 2:
            raise ValueError(f"features must be two numbers, not {len(features)}")
        self.served += 1
        distances = {label: self.distance(features, centroid) for label, centroid in self.centroids.items()}
        label = min(distances, key=distances.get)
        return {"label": label, "distance": round(distances[label], 4), "served": self.served}

    @staticmethod
    def distance(one, other) -> float:
        """As the crow flies."""
        return math.hypot(one[0] - other[0], one[1] - other[1])
