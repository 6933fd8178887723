"""Pictures, by what is in them."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sk_sentemb import FineTuner, SentenceEmbedder
from sk_sentemb.display import TrainingCurveDisplay
from tests.helpers.tiny_models import TINY

TEXTS = [f"ferry {i} of day {i % 5}" for i in range(20)]


@pytest.fixture(scope="module")
def pipeline():
    tuner = FineTuner(epochs=3, batch_size=4, validation_fraction=0.3, random_state=0)
    made = make_pipeline(SentenceEmbedder(TINY, fine_tuner=tuner), LogisticRegression())
    return made.fit(TEXTS, [i % 2 for i in range(20)])


def test_the_loss_of_each_step_and_the_validation_of_each_epoch(pipeline):
    history = pipeline[0].history_
    display = TrainingCurveDisplay.from_estimator(pipeline)
    np.testing.assert_array_equal(display.line_.get_ydata(), history["loss"])
    np.testing.assert_array_equal(display.line_.get_xdata(), history["step"])
    np.testing.assert_array_equal(
        display.validation_line_.get_ydata(), history["validation_loss"].dropna()
    )
    assert display.validation_line_.get_xdata().tolist() == [4, 8, 12]
    assert display.ax_.get_xlabel() == "step"
    assert display.validation_ax_.get_ylabel() == "validation loss"
    display.figure_.canvas.draw()


def test_axes_window_and_style_are_taken(pipeline):
    _, ax = plt.subplots()
    display = TrainingCurveDisplay.from_estimator(pipeline[0], ax=ax, window=12, color="black")
    assert display.ax_ is ax
    assert display.smooth_line_.get_color() == display.line_.get_color() == "black"
    middle = display.smooth_line_.get_ydata()[6]
    assert middle == pytest.approx(pipeline[0].history_["loss"].mean())


def test_without_validation_there_is_one_axis(pipeline):
    history = pipeline[0].history_.drop(columns="validation_loss")
    display = TrainingCurveDisplay(history).plot()
    assert display.validation_ax_ is None
    assert len(display.figure_.axes) == 1


def test_what_was_not_fine_tuned_has_no_curve():
    with pytest.raises(ValueError, match="SentenceEmbedder has no history_"):
        TrainingCurveDisplay.from_estimator(SentenceEmbedder(TINY).fit(TEXTS))
