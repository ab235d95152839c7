"""One training loop for every method: the step in one breath, the epoch on one screen, nothing else.

A step is draw, forward, loss, backward, update, record; which epochs are trained, what is kept of them and where it
is written is logitnorm.study.training's. The rules are those of Wei et al. (ICML 2022, section 4.1) and, where the
paper is silent, of the authors' released code: weight decay on every parameter, crop + flip, and the last incomplete
batch dropped.
"""

import math
import time

import torch
from torch import Tensor, nn

from . import data, losses, models
from .config import OFFSET, Config

HEADS = {"godin": models.Godin, "learned_confidence": models.Confidence, "one_offset": models.OneOffset,
         "one_temperature": models.OneTemperature}  # the other methods have a plain linear layer
LAMBDA = 0.1  # of Learned Confidence at the first step; the budget moves it from there
# Processor features that compute in bfloat16 (x86: AVX512-BF16, AMX; ARM: BF16, its SVE variant).
CPU_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def learning_rate(config: Config, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step, counted from 0 over the whole run."""
    if config.schedule == "steps":
        return config.lr * config.gamma ** sum(step // steps_per_epoch >= m for m in config.milestones)
    done = step / (config.epochs * steps_per_epoch)
    if done < config.warmup:
        return config.lr * done / config.warmup
    return config.lr * 0.5 * (1 + math.cos(math.pi * (done - config.warmup) / (1 - config.warmup)))


def precision_on(precision: str, device: torch.device) -> tuple[str, str]:
    """(what is trained in, why): "mixed" means the fastest sound precision of the device.

    On a GPU bfloat16, or float16 with loss scaling where that is only emulated (e.g. a T4). On a CPU bfloat16 where
    it has instructions for it; without them it is emulated, an order of magnitude slower than float32.
    """
    if precision != "mixed":
        return precision, "as asked for"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "native on this GPU"
        return "float16", "this GPU only emulates bfloat16"
    if native := [name for name in CPU_BFLOAT16 if torch.cpu.get_capabilities().get(name)]:
        return "bfloat16", f"native on this processor ({native[0]})"
    return "float32", "this processor has no instructions for bfloat16"


def network(config: Config) -> models.Classifier:
    """The net of a run before its training, with random weights."""
    return models.build(config.architecture, config.num_classes, config.dropout, HEADS.get(config.method, nn.Linear))


def objective(config: Config, out: tuple, y: Tensor, hinted: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The method's training loss, and L_c (0 for all methods but Learned Confidence).

    out: what the net gives, (logits B x K, features) or (logits, features, own score B); y: labels B. hinted
    (bool, B) and weight (lambda) are read by Learned Confidence only.
    """
    f = out[0].float()
    if config.method == "learned_confidence":
        L_t, L_c = losses.learned_confidence(f, out[2].float(), y, hinted)
        return L_t + weight * L_c, L_c
    if config.method in OFFSET:
        loss = losses.logitnorm(f, y, config.tau)
    elif config.method == "centred_logitnorm":
        loss = losses.centred_logitnorm(f, y, config.tau)
    elif config.method == "logit_penalty":
        loss = losses.logit_penalty(f, y, config.penalty)
    else:
        loss = losses.cross_entropy(f, y)
    return loss, f.new_zeros(())


def resident(train_set: data.ImageSet, num_classes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The training set as it stays on the device: zero-padded bytes, so that a batch is one gather; and the labels."""
    if train_set.labels is None or not 0 <= int(train_set.labels.min()) <= int(train_set.labels.max()) < num_classes:
        raise ValueError(f"the training set needs labels from 0 to {num_classes - 1}, one per image")
    return data.pad(train_set.images.to(device)), train_set.labels.to(device)


class Trainer:
    """One net in training: the net, its optimiser, how far it is.

    Every epoch draws from generators seeded with (seed, epoch), so that a resumed run draws what an uninterrupted one
    draws. What a step reads and writes stands at fixed places on the device and nothing is copied to the host before
    the epoch ends: a step can be recorded (study/graph.py) and then stand in `play`.
    """

    def __init__(self, config: Config, train_set: tuple[Tensor, Tensor], device: torch.device):
        """train_set: as `resident` gives it. Raises ValueError where it is smaller than one batch."""
        self.config, self.device = config, device
        self.images, self.labels = train_set
        self.steps = len(self.labels) // config.batch_size
        if self.steps == 0:
            raise ValueError(f"{config.id_dataset} has {len(self.labels)} training images, "
                             f"fewer than one batch of {config.batch_size}; lower batch_size")
        torch.manual_seed(config.seed)
        self.net = network(config).to(device).to(memory_format=torch.channels_last)
        on_gpu = device.type == "cuda"
        torch.backends.cudnn.benchmark = on_gpu  # every batch has the same shape: try the algorithms once
        lr = torch.tensor(config.lr, device=device) if on_gpu else config.lr  # a recorded step reads it from memory
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr, config.momentum, fused=on_gpu,
                                         weight_decay=config.weight_decay, nesterov=config.nesterov)
        for p in self.net.parameters():  # PyTorch makes these in its first step; zeros give the same step
            self.optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
        self.precision, self.precision_reason = precision_on(config.precision, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "float16")
        self.weight = torch.tensor(LAMBDA, device=device)
        self.generator = torch.Generator(device)
        self.now = torch.zeros((), dtype=torch.int64, device=device)  # the step within the epoch
        self.drawn = self.draw()
        self.loss_of_step = torch.zeros(self.steps, device=device)
        self.columns = [f"{name}_train" for name in losses.geometry(torch.ones(1, config.num_classes), config.normalised_at)]
        # correct, gradient norm, L_c, and the means of losses.geometry
        self.sums = torch.zeros(3 + len(self.columns), dtype=torch.float64, device=device)
        self.play = self.step
        self.epoch = 0
        self.history: list[dict] = []

    def train_epoch(self) -> dict:
        """One epoch; its training columns of history.csv."""
        start = time.perf_counter()
        self.begin_epoch()
        for i in range(self.steps):
            lr = learning_rate(self.config, self.epoch * self.steps + i, self.steps)
            self.set_lr(lr)
            self.play()
        loss, (correct, gradient, L_c, *of_logits) = self.loss_of_step.cpu().mean(), self.sums.cpu().tolist()
        self.epoch += 1
        seen = self.steps * self.config.batch_size
        row = {"lr": lr, "train_loss": loss.item(), "train_accuracy": 100 * correct / seen,
               **{name: value / self.steps for name, value in zip(self.columns, of_logits)},
               "grad_norm": gradient / self.steps, "images_per_second": seen / (time.perf_counter() - start)}
        if self.config.method == "learned_confidence":
            row |= {"lambda": self.weight.item(), "confidence_loss": L_c / self.steps}
        return row

    def draw(self) -> tuple[Tensor, ...]:
        """An epoch's order and augmentation, one entry per image seen: index, top, left, flip, hinted, cutout's three."""
        seen, generator = self.steps * self.config.batch_size, self.generator
        order = torch.randperm(len(self.labels), generator=generator, device=self.device)[:seen]
        top, left, flip = data.draw_crops(self.images, seen, generator)
        flip &= data.SETS[self.config.id_dataset].flips
        hinted = torch.rand(seen, generator=generator, device=self.device) < 0.5
        return order, top, left, flip, hinted, *data.draw_cutouts(seen, generator)

    def begin_epoch(self) -> None:
        """Draw what the epoch's steps read, and clear the sums."""
        seed = self.config.seed * 1_000_003 + self.epoch
        self.generator.manual_seed(seed)
        for place, values in zip(self.drawn, self.draw()):
            place.copy_(values)
        torch.manual_seed(seed)  # of dropout
        self.now.zero_()
        self.sums.zero_()
        self.net.train()

    def set_lr(self, lr: float) -> None:
        group = self.optimizer.param_groups[0]
        group["lr"] = group["lr"].fill_(lr) if isinstance(group["lr"], Tensor) else lr

    def step(self) -> None:
        """Draw, forward, loss, backward, update, record."""
        x, y, hinted = self.batch()
        with torch.autocast(self.device.type, getattr(torch, self.precision), enabled=self.precision != "float32"):
            out = self.net(x)
        loss, L_c = objective(self.config, out, y, hinted, self.weight)
        gradient = self.backward(loss)
        self.update(L_c)
        self.record(out[0], y, loss, L_c, gradient)

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Step `now`'s normalised images B x 3 x 32 x 32, labels B, and whether each example gets a hint, bool B."""
        here = self.now * self.config.batch_size + torch.arange(self.config.batch_size, device=self.device)
        index, top, left, flip, hinted, row, column, cut = (drawn[here] for drawn in self.drawn)
        x = data.to_float(data.crop_flip(self.images, index, top, left, flip))
        if self.config.cutout:
            x = data.cutout(x, row, column, cut, self.config.cutout)
        return x, self.labels[index], hinted

    def backward(self, loss: Tensor) -> Tensor:
        """Leave the gradients in the parameters; their norm, 0 where loss scaling will skip the step."""
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.get_total_norm([p.grad for p in self.net.parameters() if p.grad is not None])
        return torch.where(norm.isfinite(), norm, 0)

    @torch.no_grad()
    def update(self, L_c: Tensor) -> None:
        """SGD, and the budget rule of Learned Confidence."""
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.config.method == "learned_confidence":
            self.weight.copy_(losses.next_lambda(self.weight, L_c, self.config.budget))

    @torch.no_grad()
    def record(self, f: Tensor, y: Tensor, loss: Tensor, L_c: Tensor, gradient: Tensor) -> None:
        """Keep the step's loss, add to the epoch's sums, go on to the next step."""
        f = f.float()
        self.loss_of_step.index_copy_(0, self.now[None], loss[None])
        means = losses.geometry(f, self.config.normalised_at).values()
        self.sums += torch.stack([(f.argmax(1) == y).sum(), gradient, L_c, *means])
        self.now += 1

    def state(self) -> dict[str, Tensor]:
        """Everything that training changes, as named tensors: weights, running statistics, momentum, lambda."""
        momentum = {f"momentum/{name}": self.optimizer.state[p]["momentum_buffer"] for name, p in self.net.named_parameters()}
        return {f"net/{k}": v for k, v in self.net.state_dict().items()} | momentum | {"lambda": self.weight}

    @torch.no_grad()
    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Copy a state() into place."""
        for name, place in self.state().items():
            place.copy_(tensors[name])
