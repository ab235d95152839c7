"""A training step recorded once as a CUDA graph and then replayed, for GPUs. Two runs on an H100 used it.

Replaying spares the processor the launch of some thousand small kernels a step. What a CPU can tell is tested: a step
asks the host for no value, and recording leaves no trace. On another GPU the first replay is compared, as it was there.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from logitnorm.train import Trainer

TOLERANCE = 0.01  # a GPU sums in no fixed order, in bfloat16 to three digits


def recorded(trainer: Trainer) -> tuple[Callable[[], None], str]:
    """(the replay of trainer.step, ""), or (trainer.step, why not): put the first into trainer.play.

    The replayed step must give the loss and the weights of the eager one from the same state and draws.
    """
    before = {name: value.clone() for name, value in trainer.state().items()}

    def result(step: Callable[[], None]) -> tuple[Tensor, Tensor]:
        """The loss of one step from `before`, and by how much it moves the weights."""
        trainer.load_state(before)
        trainer.begin_epoch()
        trainer.set_lr(trainer.config.lr)  # the schedule may begin at 0
        step()
        moved = [(p - before[f"net/{name}"]).flatten() for name, p in trainer.net.named_parameters()]
        return trainer.loss_of_step[0].clone(), torch.cat(moved).detach()

    try:
        replay = _record(trainer)
        (loss, moved), (loss_again, moved_again) = result(trainer.step), result(replay)
        apart = torch.stack([(loss_again - loss).abs() / loss.abs(),  # unlike Python's, this max keeps a NaN
                             (moved_again - moved).norm() / moved.norm()]).max().item()
        why = "" if apart <= TOLERANCE else f"its first replay is {apart:.2g} of a step away from the step itself"
    except RuntimeError as error:  # what PyTorch raises where something cannot be recorded
        why = f"it could not be recorded ({str(error).splitlines()[0]})"
    trainer.load_state(before)
    return (trainer.step, f"the step is not replayed as a CUDA graph: {why}") if why else (replay, "")


def _record(trainer: Trainer) -> Callable[[], None]:
    """Run a few steps on a stream of their own, as PyTorch asks for, then record one."""
    trainer.begin_epoch()
    stream, current = torch.cuda.Stream(trainer.device), torch.cuda.current_stream(trainer.device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        for _ in range(3):
            trainer.step()
            trainer.now.zero_()  # an epoch may have fewer steps
    current.wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        trainer.step()
    return graph.replay
