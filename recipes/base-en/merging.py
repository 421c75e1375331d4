"""Averages the encoders of two checkpoints: part of what one learnt alone comes back.

python recipes/base-en/merging.py CHECKPOINT OTHER SHARE OUT

OUT has the heads of CHECKPOINT and (1 - SHARE) of its encoder plus SHARE of OTHER's. It works
because CHECKPOINT was trained on from OTHER (Wortsman et al. 2022, "Robust fine-tuning of
zero-shot models"); the heads want a short training on it afterwards.
"""

import sys
from pathlib import Path

from lmtool.training.backbone import Backbone
from lmtool.training.checkpoint import load_checkpoint, save_checkpoint


def main(folder: str, other_folder: str, share: str, out: str) -> None:
    checkpoint, other = load_checkpoint(folder), load_checkpoint(other_folder)
    assert isinstance(checkpoint.backbone, Backbone)
    assert isinstance(other.backbone, Backbone)
    weights, others = checkpoint.backbone.state_dict(), other.backbone.state_dict()
    mixed = {name: weight.lerp(others[name], float(share)) for name, weight in weights.items()}
    checkpoint.backbone.load_state_dict(mixed)
    save_checkpoint(Path(out), checkpoint)


if __name__ == "__main__":
    main(*sys.argv[1:])
