#!/usr/bin/python3
"""flask_sklearn.py PORT MODEL: Flask and scikit-learn run the network of a `fast` model; served by
waitress, or by Flask's own server where that is not installed."""
import logging
import os
import pathlib
import sys

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import flask
import numpy
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from performance_model import MOST, Network

network = Network(sys.argv[2])
app = flask.Flask(__name__)


def make_scaler():
    scaler = StandardScaler()
    scaler.mean_, scaler.scale_ = network.mean, network.std
    scaler.n_features_in_ = len(network.mean)
    return scaler


def make_regressor():
    widths = [len(bias) for _, bias, _ in network.layers]
    regressor = MLPRegressor(widths[:-1], activation="tanh", max_iter=1)
    regressor._validate_params()
    regressor.coefs_ = [weight.T for weight, _, _ in network.layers]
    regressor.intercepts_ = [bias for _, bias, _ in network.layers]
    regressor.n_layers_ = len(network.layers) + 1
    regressor.n_outputs_ = widths[-1]
    regressor.n_features_in_ = len(network.mean)
    regressor.out_activation_ = "identity"
    return regressor


scaler, regressor = make_scaler(), make_regressor()


def verdict(error):
    return {"reconstruction_error": error, "score": error / network.threshold,
            "anomaly": error > network.threshold}


@app.post("/score")
def score():
    body = flask.request.get_json()
    is_batch = isinstance(body, dict)
    rows = numpy.array(body["instances"] if is_batch else [body], numpy.float32)
    z = scaler.transform(rows).clip(-MOST, MOST)
    errors = ((z - regressor.predict(z)) ** 2).mean(axis=1).tolist()
    if is_batch:
        return {"threshold": network.threshold, "results": [verdict(error) for error in errors]}
    return {"threshold": network.threshold, **verdict(errors[0])}


try:
    import waitress
except ImportError:
    from werkzeug.serving import WSGIRequestHandler

    logging.getLogger("werkzeug").disabled = True
    WSGIRequestHandler.protocol_version = "HTTP/1.1"  # connections stay open
    app.run(host="127.0.0.1", port=int(sys.argv[1]), threaded=True)
else:
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    waitress.serve(app, host="127.0.0.1", port=int(sys.argv[1]), threads=2, _quiet=True)
