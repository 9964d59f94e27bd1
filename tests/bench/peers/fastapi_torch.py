#!/usr/bin/python3
"""fastapi_torch.py PORT MODEL: FastAPI and PyTorch run the network of a `fast` model."""
import pathlib
import sys

import fastapi
import torch
import uvicorn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from performance_model import MOST, Network


class Module(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.mean, self.std = torch.tensor(network.mean), torch.tensor(network.std)
        layers = []
        for weight, bias, activation in network.layers:
            linear = torch.nn.Linear(*weight.shape[::-1])
            linear.weight.data, linear.bias.data = torch.tensor(weight), torch.tensor(bias)
            layers += [linear] + ([torch.nn.Tanh()] if activation == "tanh" else [])
        self.layers = torch.nn.Sequential(*layers)

    def forward(self, rows):
        z = ((rows - self.mean) / self.std).clamp(-MOST, MOST)
        return (z - self.layers(z)).square().mean(dim=1)


torch.set_num_threads(1)
network = Network(sys.argv[2])
module = Module(network).eval()
app = fastapi.FastAPI()


def verdict(error):
    return {"reconstruction_error": error, "score": error / network.threshold,
            "anomaly": error > network.threshold}


@app.post("/score")
async def score(request: fastapi.Request):
    body = await request.json()
    is_batch = isinstance(body, dict)
    with torch.inference_mode():
        errors = module(torch.tensor(body["instances"] if is_batch else [body])).tolist()
    if is_batch:
        answer = {"threshold": network.threshold, "results": [verdict(error) for error in errors]}
    else:
        answer = {"threshold": network.threshold, **verdict(errors[0])}
    return fastapi.responses.JSONResponse(answer)


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
