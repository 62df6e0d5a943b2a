"""nnU-Net's prediction, with what the probabilities tell of each mask measured on the way.

    python predict.py nnUNetv2_predict arguments...

The masks are nnU-Net's own to the bit; beside each is a record, and a map of entropy (``trainers/glioflow_uncertainty.py``).
"""

import importlib
import sys
from importlib.metadata import entry_points
from pathlib import Path

TRAINERS = str(Path(__file__).parent / "trainers")


def main(command: str, *arguments: str) -> None:
    """Run nnU-Net's command in this process."""
    from nnunetv2.inference import predict_from_raw_data

    sys.path.append(TRAINERS)
    uncertainty = importlib.import_module("glioflow_uncertainty")
    predict_from_raw_data.nnUNetPredictor = uncertainty.MeasuringPredictor
    predict_from_raw_data.export_prediction_from_logits = uncertainty.export_with_map
    sys.argv = [command, *arguments]
    (entry,) = entry_points(group="console_scripts", name=command)
    entry.load()()


if __name__ == "__main__":
    main(*sys.argv[1:])
