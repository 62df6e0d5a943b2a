"""The course of a training is drawn whole: losses, learning rate and pseudo-Dice of every fold."""

import pandas as pd

from glioflow.report.figures import draw_curves


def curves(**more: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"epoch": [0, 1, 2], "train_loss": [0.0, -0.2, -0.3], "val_loss": [0.1, -0.1, -0.2], **more})


def test_every_fold_has_a_line_in_every_panel() -> None:
    one = curves(pseudo_dice_WT=[0.1, 0.5, 0.8], learning_rate=[0.01, 0.005, 0.0])
    figure = draw_curves({0: one, 1: one.assign(learning_rate=[0.02, 0.01, 0.0])})
    lines = {axes.get_title(loc="left") or axes.get_title(): len(axes.get_lines()) for axes in figure.axes}
    assert lines == {"Loss": 4, "Learning rate": 2, "Pseudo-Dice WT": 2}
    rates = next(axes for axes in figure.axes if "Learning rate" in axes.get_title(loc="left"))
    assert [list(line.get_ydata()) for line in rates.get_lines()] == [[0.01, 0.005, 0.0], [0.02, 0.01, 0.0]]


def test_a_training_that_noted_no_learning_rate_has_no_panel_of_it() -> None:
    figure = draw_curves({0: curves(pseudo_dice_WT=[0.1, 0.5, 0.8])})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Loss", "Pseudo-Dice WT"]
