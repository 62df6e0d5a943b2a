"""The trainer of glioflow's models, found by nnU-Net through ``nnUNet_extTrainer``, at inference too.

Everything it needs is in the plans, in the block ``glioflow``: a trained model is self-describing. The modules of this
folder import what nnU-Net's own environment has, so that the folder alone is enough to predict with plain
``nnUNetv2_predict``.
"""

import contextlib
import ctypes
import importlib
import json
import multiprocessing
import multiprocessing.dummy
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - nnU-Net's paths are strings
# Plans name networks of this folder, which nnU-Net imports by name. The entry that nnU-Net made to find this module is the
# first one, and it takes that away again.
if HERE not in sys.path[1:]:
    sys.path.append(HERE)

losses = importlib.import_module("glioflow_losses")
optimisers = importlib.import_module("glioflow_optimisers")
resume = importlib.import_module("glioflow_resume")
uncertainty = importlib.import_module("glioflow_uncertainty")
trainer_module: Any = sys.modules[nnUNetTrainer.__module__]  # in which nnU-Net's validation looks for its predictor

# To readers of types the class below is a trainer; it really gets one by coming before it among the bases of another class.
_Trainer: Any = nnUNetTrainer if TYPE_CHECKING else object

PROGRESS = "glioflow| "
PR_SET_PDEATHSIG = 1  # prctl(2)
UNSAVED_SECONDS = 600  # how much training a kill may cost where the study gives no other time

# Keys of the plans' block and the attributes of nnU-Net's trainer that they set.
ATTRIBUTES = {
    "epochs": "num_epochs",
    "iterations_per_epoch": "num_iterations_per_epoch",
    "validation_iterations": "num_val_iterations_per_epoch",
    "initial_lr": "initial_lr",
    "weight_decay": "weight_decay",
    "deep_supervision": "enable_deep_supervision",
}


def _prepare_child() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the training decides


if "GLIOFLOW_THREADS" in os.environ:  # on a CPU nnU-Net's commands, before they look for this class, take every core there is
    torch.set_num_threads(int(os.environ["GLIOFLOW_THREADS"]))

if sys.platform == "linux":  # no worker of its data loaders outlives a killed training
    os.register_at_fork(after_in_child=_prepare_child)


@contextlib.contextmanager
def _one_process() -> Iterator[None]:
    """Let nnU-Net's pools be threads of this process: one core has nothing to gain from others.

    Each pool's process imports nnU-Net again: with both TTA modes a fold took 40 s of processor time, with threads 18 s (three
    epochs on phantoms, byte code at hand).
    """
    former = multiprocessing.get_context
    multiprocessing.get_context = lambda method=None: multiprocessing.dummy  # type: ignore[assignment,return-value]
    try:
        yield
    finally:
        multiprocessing.get_context = former


@contextlib.contextmanager
def _forgiving(what: str) -> Iterator[None]:
    """Say that ``what`` could not be written, instead of ending a training for it."""
    try:
        yield
    except OSError as error:
        print(f"{PROGRESS}{what} could not be written ({error}); training goes on", flush=True)


class InBfloat16(torch.nn.Module):  # type: ignore[misc]
    """A network whose layers compute in bfloat16 where that is safe, and whose output is float32, as the loss needs it.

    Mixed precision (Micikevicius et al. 2018, arXiv:1710.03740), which nnU-Net uses on a GPU, with bfloat16 (Kalamkar et al.
    2019, arXiv:1905.12322), whose range needs no scaling of the loss.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, data: torch.Tensor) -> Any:
        """Return what the network makes of a batch (b, c, x, y, z), at every depth where it supervises them."""
        with torch.autocast("cpu", torch.bfloat16):
            output = self.network(data)
        return [each.float() for each in output] if isinstance(output, list | tuple) else output.float()


class Glioflow(_Trainer):  # type: ignore[misc]
    """What glioflow adds to a trainer of nnU-Net; it comes before that trainer among the bases of a class.

    Settings come from the plans; epochs are seeded one by one, so that a training taken up again at any iteration ends in the
    same weights (with one process; workers of data loaders race); SIGTERM and Ctrl-C save before they end; a checkpoint is
    never half-written and the one before it is kept; validation goes on case by case; progress is readable.
    """

    network: Any

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.settings = settings = plans["glioflow"]
        for key, attribute in ATTRIBUTES.items():
            if key in settings:
                setattr(self, attribute, settings[key])
        self.swa = settings.get("swa")
        self.main_epochs: int = self.num_epochs  # type: ignore[has-type]
        if self.swa:
            self.num_epochs = self.main_epochs + self.swa["cycles"] * self.swa["epochs_per_cycle"]
        self.regions = settings["regions"]
        self.stop = resume.StopRequest()
        self.average: torch.optim.swa_utils.AveragedModel | None = None
        self.in_cycle = False  # whether the optimiser is that of a cycle of weight averaging
        self.taken_up: dict[str, Any] | None = None  # where inside an epoch a training that was asked to stop goes on
        self.to_validate: str | None = None  # folder of the validation masks, while they are made
        self.predictor: Any = None  # what predicts them
        self.saved_at = time.monotonic()

    def seed(self, epoch: int) -> int:
        """Return the seed of an epoch of this fold; -1 is the network's initialisation."""
        return int(self.settings["seed"]) + 1000 * int(self.fold) + 100_000 * (epoch + 1)

    # ---- the network and how it learns

    def initialize(self) -> None:
        """Build the network from the seed, the same in every run."""
        resume.seed_everything(self.seed(-1))
        super().initialize()

    def _build_loss(self) -> Any:
        """Return nnU-Net's loss, or the study's, weighted over the depths as nnU-Net does it."""
        built = super()._build_loss()
        name = self.settings.get("loss", "dice_ce")
        if name == "dice_ce":
            return built
        labels, planned = self.label_manager, self.configuration_manager
        loss = losses.build_loss(name, labels.has_regions, planned.batch_dice, labels.ignore_label)
        if not self.enable_deep_supervision:
            return loss
        built.loss = loss
        return built

    def configure_optimizers(self) -> Any:
        """Return the optimiser and the schedule of the study; those of the custom trainer where it names none."""
        if "optimiser" not in self.settings:
            return super().configure_optimizers()
        parameters = self.network.parameters()
        name, schedule = self.settings["optimiser"], self.settings["schedule"]
        optimiser = optimisers.build_optimiser(name, parameters, self.initial_lr, self.weight_decay)
        return optimiser, optimisers.build_schedule(schedule, optimiser, self.initial_lr, self.main_epochs)

    @property
    def bare_network(self) -> torch.nn.Module:
        """The network without what torch.compile wraps around it."""
        return getattr(self.network, "_orig_mod", self.network)

    def on_train_epoch_start(self) -> None:
        """Set the learning rate of the epoch; in a cycle of weight averaging, with an optimiser of the cycle's own."""
        cycle = self.current_epoch - self.main_epochs
        if not self.swa or cycle < 0:
            super().on_train_epoch_start()
            return
        if self.average is None:
            self.average = torch.optim.swa_utils.AveragedModel(self.bare_network)
            self.average.update_parameters(self.bare_network)
        if cycle % self.swa["epochs_per_cycle"] == 0 and self.taken_up is None:
            self.start_cycle()
        self.network.train()
        lr = optimisers.swa_learning_rate(self.swa["initial_lr"], cycle, self.swa["epochs_per_cycle"])
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.logger.log("lrs", lr, self.current_epoch)

    def start_cycle(self) -> None:
        """Take a fresh Adam, as every cycle of weight averaging does."""
        parameters = self.network.parameters()
        decay = self.weight_decay
        self.optimizer = optimisers.build_optimiser("adam", parameters, self.swa["initial_lr"], decay)
        self.in_cycle = True

    # ---- training, with a way out at every iteration

    def run_training(self) -> None:
        """Train to the end, as nnU-Net's loop does; a wish to stop is granted between two iterations."""
        self.stop.listen()
        self.on_train_start()
        for _ in range(self.current_epoch, self.num_epochs):
            self.on_epoch_start()
            self.on_train_epoch_start()
            resume.seed_everything(self.seed(self.current_epoch))
            outputs: list[Any] = []
            if self.taken_up is not None:
                outputs = self.taken_up["outputs"]
                resume.restore_random_state(self.taken_up["random"])
                self.taken_up = None
            while len(outputs) < self.num_iterations_per_epoch:
                outputs.append(self.train_step(self.next_batch(self.dataloader_train, outputs)))
            random = resume.random_state()
            validated: list[Any] = []
            self.on_train_epoch_end(outputs)
            with torch.no_grad():
                self.on_validation_epoch_start()
                for _ in range(self.num_val_iterations_per_epoch):
                    batch = self.next_batch(self.dataloader_val, outputs, random)
                    validated.append(self.validation_step(batch))
                self.on_validation_epoch_end(validated)
            self.on_epoch_end()
        self.on_train_end()

    def train_step(self, batch: dict[str, Any]) -> Any:
        """Learn from one batch; on a processor that has bfloat16, more than twice as fast by it."""
        if self.device.type != "cpu" or "GLIOFLOW_BFLOAT16" not in os.environ:
            return super().train_step(batch)
        network = self.network
        self.network = InBfloat16(network)
        try:
            return super().train_step(batch)
        finally:
            self.network = network

    def next_batch(self, loader: Any, outputs: list[Any], random: dict[str, Any] | None = None) -> Any:
        """Return the next batch, or save and leave where that is wished.

        ``outputs`` are those of the epoch's training iterations; ``random`` the random state that its validation began with.
        """
        if self.stop.asked:
            self.leave(outputs, random)
        state = random or (resume.random_state() if self.repeatable else None)
        try:
            return next(loader)
        except RuntimeError:  # a scheduler asks the loaders' workers to end too, and they do
            if not self.stop.asked:
                raise
            self.leave(outputs, state)

    @property
    def repeatable(self) -> bool:
        """Whether batches are made in this process, so that the random state decides them."""
        return os.environ.get("nnUNet_n_proc_DA") == "0"  # noqa: SIM112 - nnU-Net's name

    def leave(self, outputs: list[Any], random: dict[str, Any] | None) -> None:
        """Save the training as it is inside an epoch, where there is room to, and end this process."""
        folder = self.output_folder
        self.taken_up = {"outputs": outputs, "random": random or resume.random_state()}
        self.current_epoch -= 1  # a checkpoint names the epoch after the current one
        saved = self.save_checkpoint(os.path.join(folder, resume.LATEST))  # noqa: PTH118
        self.current_epoch += 1
        where = f"epoch {self.current_epoch + 1}, iteration {len(outputs)} of {self.num_iterations_per_epoch}"
        print(f"{PROGRESS}asked to stop: {'saved' if saved else 'nothing could be saved'} in {where}", flush=True)
        os._exit(resume.PAUSED if saved else resume.UNSAVED)

    def on_train_start(self) -> None:
        """Prepare, and start the clocks."""
        super().on_train_start()
        self._first_epoch, self._started = self.current_epoch, time.monotonic()
        self.saved_at = self._started

    def on_epoch_end(self) -> None:
        """Save when it is time to, and print one line a person can read: losses, pseudo-Dice, pace, time left."""
        cycle = self.current_epoch + 1 - self.main_epochs
        if self.average is not None and cycle % self.swa["update_every"] == 0:
            self.average.update_parameters(self.bare_network)
        now, every = time.monotonic(), self.settings["save_every"]
        pace = (now - self._started) / (self.current_epoch + 1 - self._first_epoch)
        # nnU-Net saves where this divides the number of epochs done.
        due = now - self.saved_at + pace > UNSAVED_SECONDS
        self.save_every = every or (1 if due else self.num_epochs + 1)
        with _forgiving("the course of the training"):
            super().on_epoch_end()
            self.write_curves()
        if self.current_epoch == self._last_epoch_logged():  # the disk was full before nnU-Net could count the epoch
            self.current_epoch += 1
        self.report(pace)

    def _last_epoch_logged(self) -> int:
        return len(self.logger.get_checkpoint()["epoch_end_timestamps"]) - 1

    def report(self, pace: float) -> None:
        """Print the line of an epoch; ``pace`` is seconds per epoch."""
        minutes, seconds = divmod(round(pace * (self.num_epochs - self.current_epoch)), 60)
        hours, minutes = divmod(minutes, 60)
        value = self.logger.get_value
        dice = " ".join(
            f"{region} {score:.2f}"
            for region, score in zip(self.regions, value("dice_per_class_or_region", step=-1), strict=True)
        )
        print(
            f"{PROGRESS}epoch {self.current_epoch}/{self.num_epochs}: loss {value('train_losses', step=-1):.3f} "
            f"(validation {value('val_losses', step=-1):.3f}), pseudo-Dice {dice}, {pace:.1f} s an epoch, "
            f"{f'{hours}:{minutes:02d}' if hours else minutes}:{seconds:02d} left",
            flush=True,
        )

    def on_train_end(self) -> None:
        """Finish with the averaged weights where the study averages; the checkpoints on the way have done their service."""
        if self.average is not None:
            self.bare_network.load_state_dict(self.average.module.state_dict())
        super().on_train_end()
        resume.remove(os.path.join(self.output_folder, resume.PREVIOUS))  # noqa: PTH118

    def plot_network_architecture(self) -> None:
        """Draw nothing: it needs a package that is no longer kept."""

    # ---- checkpoints

    def save_checkpoint(self, filename: str) -> bool:
        """Write the checkpoint whole under its name, or not at all: a full disk costs a checkpoint, not the training.

        Tells whether it was written.
        """
        temporary = f"{filename}.writing"
        # What nnU-Net's checkpoint has no place for travels in the arguments that it saves; predicting reads one of them.
        self.my_init_kwargs["glioflow"] = self.state()
        try:
            super().save_checkpoint(temporary)
        except (OSError, RuntimeError) as error:
            resume.remove(temporary)
            if filename.endswith("checkpoint_final.pth"):
                raise
            print(f"{PROGRESS}no checkpoint could be written ({str(error).splitlines()[0]})", flush=True)
            return False
        finally:
            del self.my_init_kwargs["glioflow"]
        resume.put_in_place(temporary, filename)
        if filename.endswith(resume.LATEST):
            self.saved_at = time.monotonic()
        return True

    def state(self) -> dict[str, Any]:
        """Return what the training goes on from, besides what nnU-Net saves."""
        average = None
        if self.average is not None:
            average = {"weights": self.average.module.state_dict(), "n": int(self.average.n_averaged)}
        return {"average": average, "in_cycle": self.in_cycle, "inside_epoch": self.taken_up}

    def load_checkpoint(self, filename_or_checkpoint: Any) -> None:
        """Load a checkpoint of nnU-Net or of ours, to go on with training or to validate."""
        if not self.was_initialized:
            self.initialize()
        checkpoint = torch.load(filename_or_checkpoint, map_location="cpu", weights_only=False)
        if "optimizer_state" not in checkpoint:  # weights alone, out of a bundle: enough to predict the validation cases
            self.bare_network.load_state_dict(checkpoint["network_weights"])
            self.inference_allowed_mirroring_axes = checkpoint["inference_allowed_mirroring_axes"]
            return
        saved = checkpoint["init_args"].get("glioflow")
        if saved and saved["in_cycle"]:
            self.start_cycle()  # so that nnU-Net finds an optimiser which the saved state is that of
        super().load_checkpoint(filename_or_checkpoint)
        self.my_init_kwargs.pop("glioflow", None)
        if not saved:
            return
        self.taken_up = saved["inside_epoch"]
        if saved["average"]:
            self.average = torch.optim.swa_utils.AveragedModel(self.bare_network)
            self.average.module.load_state_dict(saved["average"]["weights"])
            self.average.n_averaged.fill_(saved["average"]["n"])

    # ---- validation

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Predict the fold's validation cases as far as they are not predicted, mirrored or not or both as the plans ask.

        Masks without mirroring beside such with it go to the folder ``without_tta``. The checkpoint keeps the axes either way.
        """
        self.stop.listen()
        axes, folder = self.inference_allowed_mirroring_axes, self.output_folder  # type: ignore[has-type]
        tta = self.settings["tta"]
        for mirrored in (False, True) if tta == "both" else (tta,):
            aside = tta == "both" and not mirrored
            self.output_folder = os.path.join(folder, "without_tta") if aside else folder  # noqa: PTH118
            self.inference_allowed_mirroring_axes = axes if mirrored else None
            self.to_validate = os.path.join(self.output_folder, "validation")  # noqa: PTH118
            try:
                with self.measuring(), _one_process() if self.repeatable else contextlib.nullcontext():
                    super().perform_actual_validation(save_probabilities)
            finally:
                self.output_folder, self.inference_allowed_mirroring_axes, self.to_validate = folder, axes, None

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        """Let nnU-Net's validation write a record and a map of entropy beside every mask."""
        former = trainer_module.nnUNetPredictor, trainer_module.export_prediction_from_logits
        if uncertainty.REGIONS_VARIABLE not in os.environ:  # plain nnU-Net's command with a model of ours
            yield
            return

        def make(*args: Any, **kwargs: Any) -> Any:
            self.predictor = uncertainty.MeasuringPredictor(*args, **kwargs)
            return self.predictor

        # nnU-Net forgets the modules that it found this class in; a process that exports is told the function by their names.
        sys.modules[uncertainty.__name__] = uncertainty
        trainer_module.nnUNetPredictor, trainer_module.export_prediction_from_logits = make, uncertainty.export_with_map
        try:
            yield
        finally:
            trainer_module.nnUNetPredictor, trainer_module.export_prediction_from_logits = former
            self.predictor = None

    def do_split(self) -> tuple[list[str], list[str]]:
        """Return training and validation cases; while these are predicted, only those that are not."""
        training, validation = super().do_split()
        if self.to_validate is None:
            return training, validation
        waiting = [case for case in validation if not os.path.exists(os.path.join(self.to_validate, f"{case}.nii.gz"))]  # noqa: PTH110, PTH118
        self._predicted, self._to_predict = len(validation) - len(waiting), len(validation)
        return training, waiting

    def print_to_log_file(self, *args: Any, **kwargs: Any) -> None:
        """Log as nnU-Net does; between two validation cases, report how far they are, and stop where that is asked for."""
        super().print_to_log_file(*args, **kwargs)
        if getattr(self, "to_validate", None) is None or not str(args[0]).startswith("predicting "):
            return
        if self.stop.asked:
            print(f"{PROGRESS}asked to stop: {self._predicted} of {self._to_predict} validation cases begun", flush=True)
            os._exit(resume.PAUSED)
        if self.predictor is not None:
            self.predictor.target = os.path.join(self.to_validate or "", str(args[0]).removeprefix("predicting "))  # noqa: PTH118
        self._predicted += 1
        print(f"{PROGRESS}predicting validation case {self._predicted} of {self._to_predict}", flush=True)

    # ---- the record

    def write_curves(self) -> None:
        """Write the training's course so far to curves.json, beside the checkpoints."""
        log = self.logger.get_checkpoint()
        epochs = [
            {
                "epoch": epoch,
                "train_loss": float(log["train_losses"][epoch]),
                "val_loss": float(log["val_losses"][epoch]),
                **{
                    f"pseudo_dice_{region}": float(dice)
                    for region, dice in zip(self.regions, log["dice_per_class_or_region"][epoch], strict=True)
                },
                "learning_rate": float(log["lrs"][epoch]),
                "seconds": float(log["epoch_end_timestamps"][epoch] - log["epoch_start_timestamps"][epoch]),
            }
            for epoch in range(self.current_epoch)
        ]
        target = os.path.join(self.output_folder, "curves.json")  # noqa: PTH118
        with open(f"{target}.writing", "w", encoding="utf-8") as stream:
            json.dump(epochs, stream)
        os.replace(f"{target}.writing", target)


class GlioflowTrainer(Glioflow, nnUNetTrainer):  # type: ignore[misc]
    """nnU-Net's own trainer with what glioflow adds."""
