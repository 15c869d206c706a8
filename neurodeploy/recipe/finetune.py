"""`[export]` `finetune`: training in the integers of the chip, before the student is exported."""

from pydantic import Field

from neurodeploy.optimization import TrainingSettings
from neurodeploy.recipe.section import Section


class FinetuneSettings(Section):
    """How a trained student learns on in Loihi's integers: Adam, whose rate falls to 0 as a cosine.

    The loss is `CE(z, y) + distillation · τ² KL(softmax(z_F/τ) ‖ softmax(z/τ))`, with z the logits and z_F those of the
    student before, in float.

    Attributes:
        epochs: over the training set.
        batch_size: samples per update of the weights.
        learning_rate: at the start.
        distillation: weight of the student's own answers in float.
        temperature: τ.
        reset: neurons that were trained with another reset get the chip's, to 0, and learn to live with it.
    """

    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=3e-4, gt=0, allow_inf_nan=False)
    distillation: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    temperature: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    reset: bool = False

    @property
    def optimization(self) -> TrainingSettings:
        return TrainingSettings(
            epochs=self.epochs,
            batch_size=self.batch_size,
            optimizer="adam",
            learning_rate=self.learning_rate,
            weight_decay=0,
            warmup_epochs=0,
        )
