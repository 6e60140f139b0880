"""anomalib's PatchCore on images that `quality.py` has divided and decoded; it scores them and measures nothing.

    PYTHON benchmarks/anomalib_patchcore.py REQUEST.json

PYTHON has anomalib (tried with 2.7.0) and needs none of our packages:

    python3 -m venv ENVIRONMENT
    ENVIRONMENT/bin/pip install -c constraints.txt torch torchvision timm anomalib

The request names the model, a safetensors file with its weights, the blocks, mean and SD of the input (0-1), the
share of patches that the coreset keeps, the neighbours that weigh an image's score, seeds, threads, two arrays of
images (`fit` and `scored`, .npy of uint8 (n, h, w, 3)), and the folder `out`. For each seed it writes `scores`
(float (n,)) and `maps` (float32 (n, h, w)) into an .npz there, and prints one JSON line.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from safetensors.torch import load_file

BATCH = 32


def build_model(request: dict[str, Any]) -> PatchcoreModel:
    """PatchCore whose backbone has exactly the weights of the file, tensor by tensor."""
    model = PatchcoreModel(
        layers=request["blocks"],
        backbone=request["model"],
        pre_trained=False,
        num_neighbors=request["neighbours"],
    )
    network, given = model.feature_extractor.feature_extractor, load_file(request["weights"])
    missing = sorted(network.state_dict().keys() - given.keys())
    if missing:
        raise SystemExit(f"{request['weights']} lacks {len(missing)} tensors of {request['model']}: {missing[:3]}")
    network.load_state_dict({name: given[name] for name in network.state_dict()})
    differing = [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, given[name])]
    if differing:
        raise SystemExit(f"{len(differing)} tensors differ from {request['weights']}: {differing[:3]}")
    return model


def normalise(images: np.ndarray, request: dict[str, Any]) -> torch.Tensor:
    """From uint8 (b, h, w, 3) to the network's input, float32 (b, 3, h, w)."""
    mean, std = (torch.tensor(request[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    return (torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255 - mean) / std


def run(request: dict[str, Any], seed: int) -> dict[str, Any]:
    """Fit and score with one seed, which draws the coreset's projection and its first patch."""
    started = time.perf_counter()
    torch.manual_seed(seed)
    np.random.seed(seed)  # scikit-learn's part of the projection
    fit, scored = (np.load(request[name], mmap_mode="r") for name in ("fit", "scored"))
    model = build_model(request)
    with torch.no_grad():
        model.train()  # which collects patches; the backbone stays in eval mode
        for start in range(0, len(fit), BATCH):
            model(normalise(fit[start : start + BATCH], request))
        model.subsample_embedding(request["coreset_ratio"])
        model.eval()
        batches = [
            model(normalise(scored[start : start + BATCH], request)) for start in range(0, len(scored), BATCH)
        ]
    path = Path(request["out"]) / f"{seed}.npz"
    np.savez(
        path,
        scores=torch.cat([batch.pred_score for batch in batches]).double().numpy(),
        maps=torch.cat([batch.anomaly_map.squeeze(1) for batch in batches]).numpy(),
    )
    seconds = round(time.perf_counter() - started, 2)
    return {"seed": seed, "seconds": seconds, "memory_patches": len(model.memory_bank), "scores": str(path)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("request", type=Path)
    request = json.loads(parser.parse_args().request.read_text())
    if request["threads"]:
        torch.set_num_threads(request["threads"])
    for seed in request["seeds"]:
        print(json.dumps(run(request, seed)), flush=True)


if __name__ == "__main__":
    main()
