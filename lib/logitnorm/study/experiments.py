"""experiments.yaml: which runs there are, and `python -m logitnorm experiments` to train them without a notebook.

    python -m logitnorm experiments --size small --only 'logitnorm.*seed1' [--official] [--runs-dir data/runs] [--list]
    python -m logitnorm experiments --check     # are the finished runs whole, and those that experiments.yaml lists?
"""

import argparse
import difflib
import itertools
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import yaml
from yaml.constructor import SafeConstructor

from logitnorm import data, paths, runs
from logitnorm.config import SIZES, Config, ConfigError
from logitnorm.data import DataError
from logitnorm.runs import RunError

from . import print_anywhere, report, say, scoring
from .training import difference, require_batch, train

FILE = paths.ROOT / "experiments.yaml"

# The names of an entry: settings of a run, `seeds` for `seed`. Numbers that may be a list, one run each, are part of
# the run's name.
KNOWN = ["seeds" if name == "seed" else name for name in Config.model_fields]
LISTS = ("seeds", "tau", "cutout")


class ExperimentsError(ValueError):
    """A mistake in experiments.yaml: the file, the line, what is wrong, and what is allowed."""


# Reading ---------------------------------------------------------------------------------------------------

def read(file: Path) -> list[tuple[int, dict[str, object], dict[str, int]]]:
    """The entries of the file: (line of the entry, its settings, the line of each setting); lines are counted from 1.

    Only the form is checked here: mappings, known names, no name twice, plain values.
    """
    try:
        root = yaml.compose(Path(file).read_text(encoding="utf-8"), yaml.SafeLoader)
    except OSError as error:
        raise ExperimentsError(f"{file} cannot be read ({error.strerror}); set LOGITNORM_ROOT to a checkout of "
                               "the book, where experiments.yaml lies") from None
    except UnicodeDecodeError as error:
        line = error.object[:error.start].count(b"\n") + 1
        raise ExperimentsError(f"{file}, line {line}: not UTF-8 ({error.reason}); save the file in that encoding") from None
    except yaml.YAMLError as error:
        line = error.problem_mark.line + 1 if getattr(error, "problem_mark", None) else 1
        reason = getattr(error, "problem", None) or error
        raise ExperimentsError(f"{file}, line {line}: not valid YAML: {reason}") from None
    top = _mapping(file, root, "the file", ["runs"])
    line, node = top.get("runs", (1, None))
    if not isinstance(node, yaml.SequenceNode):
        raise ExperimentsError(f"{file}, line {line}: the file must have runs: a list of entries "
                               "'- {size: ..., method: ...}'")
    found = []
    for number, entry in enumerate(node.value, start=1):
        settings = _mapping(file, entry, f"run {number}", KNOWN)
        found.append((_line(entry), {name: _plain(file, value) for name, (_, value) in settings.items()},
                      {name: line for name, (line, _) in settings.items()}))
    return found


def configs(file: Path = FILE, size: str | None = None, only: str = "") -> list[Config]:
    """The runs of experiments.yaml, in its order: those of one size, whose run id matches the expression `only`.

    Where seeds, tau or cutout has a list of numbers, there is one run for each.
    Raises ExperimentsError for the first mistake in the file, whatever was asked for.
    """
    found: dict[str, tuple[Config, int]] = {}
    for number, (line, entry, lines) in enumerate(read(file), start=1):
        if "size" not in entry:  # no silent one: a forgotten size would be 200 epochs on a GPU
            raise ExperimentsError(f"{file}, line {line}: run {number} has no size; known: {', '.join(SIZES)}")
        lists = [name for name in LISTS if name in entry]
        for name in lists:
            if entry[name] == [] or name == "seeds" and not isinstance(entry[name], list):
                raise ExperimentsError(f"{file}, line {lines[name]}: {name} of run {number} must be a list of "
                                       f"numbers such as [1, 2, 3], got {entry[name]!r}")
        every = [entry[name] if isinstance(entry[name], list) else [entry[name]] for name in lists]
        for values in itertools.product(*every):
            settings = entry | dict(zip(lists, values))
            if "seeds" in settings:
                settings["seed"] = settings.pop("seeds")
            try:
                config = require_batch(Config(**settings))
            except ConfigError as error:
                at = lines.get("seeds" if error.field == "seed" else error.field, line)
                raise ExperimentsError(f"{file}, line {at}: run {number}: {error}") from None
            if config.run_id in found:
                raise ExperimentsError(f"{file}, line {line}: the run {config.run_id} is listed twice, first in line "
                                       f"{found[config.run_id][1]}; change a seed or delete one entry")
            found[config.run_id] = config, line
    if size is not None and size not in SIZES:
        raise ExperimentsError(f"there is no size {size!r}; known: {', '.join(SIZES)}")
    try:
        wanted = re.compile(only)
    except re.error as error:
        raise ExperimentsError(f"{only!r} is not a regular expression ({error}); "
                               "an example: 'logitnorm.*seed[12]$'") from None
    return [config for config, _ in found.values() if size in (None, config.size) and wanted.search(config.run_id)]


def official(config: Config) -> Config:
    """The same run, scored on the official image sets, which are downloaded, in place of their stand-ins."""
    def each(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(data.official, names)))  # a set and its stand-in are one there

    return config.replace(ood_sets=each(config.ood_sets), extra_sets=each(config.extra_sets),
                          history_ood=data.official(config.history_ood))


def _line(node) -> int:
    return node.start_mark.line + 1


def _mapping(file, node, where: str, allowed) -> dict:
    """{name: (line, node of the value)} of a YAML mapping; a name may stand in it once."""
    if not isinstance(node, yaml.MappingNode):
        raise ExperimentsError(f"{file}, line {_line(node) if node else 1}: {where} must be lines 'name: value'")
    found = {}
    for key, value in node.value:
        name, line = str(key.value), _line(key)
        if name not in allowed:
            if name == "seed":
                hint = " Write seeds: [1, 2] in an entry of runs."
            else:
                near = difflib.get_close_matches(name, allowed, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ExperimentsError(f"{file}, line {line}: unknown setting {name!r} of {where}.{hint} "
                                   f"Known: {', '.join(allowed)}.")
        if name in found:
            raise ExperimentsError(f"{file}, line {line}: {name!r} stands twice in {where}, first in line "
                                   f"{found[name][0]}; delete one")
        found[name] = line, value
    return found


def _plain(file, node):
    """The value of a YAML node as plain Python; a tag such as !!python/object is refused by the safe loader."""
    try:
        return SafeConstructor().construct_document(node)
    except yaml.YAMLError as error:
        reason = getattr(error, "problem", error)
        raise ExperimentsError(f"{file}, line {_line(node)}: not plain YAML: {reason}") from None


# What is in data/runs --------------------------------------------------------------------------------------

def finished(runs_dir: Path) -> list[Path]:
    """What should be a finished run: all that lies in runs_dir but runs in progress, notebooks, archives and what is hidden."""
    return sorted(path for path in Path(runs_dir).iterdir() if path.suffix not in (".part", ".ipynb", ".zip") and path.name[0] != ".")


def problems(runs_dir: Path = paths.RUNS, file: Path = FILE) -> list[str]:
    """Why the finished runs below runs_dir must not be published, one sentence each; empty if they may be.

    A run must be whole (every file has the checksum of run.json) and be one that the file lists, with the very
    settings that stand there now, be it on the official image sets. Runs in progress are left alone.
    """
    planned = {config.run_id: config for config in configs(file)}
    found = []
    for folder in finished(runs_dir):
        try:
            run = runs.load(folder)
            config = run.config
            scoring.require_metrics(run)
        except RunError as error:
            found.append(str(error))
            continue
        except (KeyError, TypeError, ValueError) as error:
            found.append(f"{folder}/run.json holds settings that this version does not know ({error}); "
                         "train the run again")
            continue
        listed = planned.get(run.id)
        if listed is None or run.id != folder.name:
            found.append(f"{folder} is not listed in {Path(file).name}; list it there, or move the folder away")
            continue
        if differs := unlike(config, listed, file):
            found.append(f"{folder} was trained with {differs}; put the old value back, or move the folder away and train "
                         "the run again")
    return found


def unlike(config: Config, listed: Config, file: Path) -> str:
    """Where a run is not as the file lists it, be it on the official image sets: "lr = 0.1, but FILE says 0.2"; or ""."""
    if config.ood_sets == official(listed).ood_sets:
        listed = official(listed)
    name = difference(config, listed)
    return f"{name} = {getattr(config, name)!r}, but {Path(file).name} says {getattr(listed, name)!r}" if name else ""


interrupted = False


def _train(config: Config, runs_dir: Path) -> str:
    """Train one run, in this process or one of its own; "" or, in one sentence, why it is not complete."""
    global interrupted
    try:
        if interrupted:
            raise KeyboardInterrupt
        say(f"wrote {train(config, runs_dir)}")
    except Exception as error:  # it concerns this run, be it PyTorch's own; the others can go on
        return str(error) if config.run_id in str(error) else f"{config.run_id}: {error}"
    except KeyboardInterrupt:
        interrupted = bool(multiprocessing.parent_process())  # the pool has one more run for this process
        raise
    return ""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m logitnorm experiments",
                                     description="Train the runs of experiments.yaml.")
    parser.add_argument("--size", help="only the runs of this size (smoke, small, medium, full)")
    parser.add_argument("--only", default="", help="only the runs whose id matches this regular expression")
    parser.add_argument("--official", action="store_true",
                        help="score the official image sets, which are downloaded, instead of their stand-ins")
    parser.add_argument("--runs-dir", type=Path, default=paths.RUNS, help="where run folders go (default: data/runs)")
    parser.add_argument("--list", action="store_true", help="print the run ids and train nothing")
    parser.add_argument("--check", action="store_true",
                        help="train nothing; fail if a finished run is damaged or not as experiments.yaml lists it")
    parser.add_argument("--together", type=int, default=1, metavar="N",
                        help="train N runs at a time, each in a process of its own (default: 1)")
    args = parser.parse_args(arguments)
    failed = 0
    try:
        if args.together < 1:
            raise ValueError(f"--together must be at least 1, got {args.together}")
        if args.runs_dir.is_file():
            raise ValueError(f"--runs-dir {args.runs_dir} is a file; name a folder for the runs")
        if args.check and not args.runs_dir.is_dir():
            raise ValueError(f"--runs-dir {args.runs_dir} does not exist; name a folder that holds run folders")
        if args.check:
            count = len(finished(args.runs_dir))
            if not count and args.runs_dir != paths.RUNS:
                raise ValueError(f"--runs-dir {args.runs_dir} holds no finished run; name a folder that holds run folders")
            for sentence in problems(args.runs_dir, FILE):
                failed = report(RunError(sentence))
            if not failed:
                print(f"{count} runs are whole and as {FILE.name} lists them")
            return failed
        chosen = configs(FILE, args.size, args.only)
        if args.official:
            chosen = [official(config) for config in chosen]
        if not chosen:
            raise ValueError(f"no run of {FILE.name} matches --size {args.size} --only {args.only!r}; see --list")
        if args.list:
            say("\n".join(config.run_id for config in chosen))
            return 0
        if args.together > 1:  # each in a process of its own, which does not share this one's memory of a GPU
            with ProcessPoolExecutor(args.together, multiprocessing.get_context("spawn"), print_anywhere) as pool:
                said = [pool.submit(_train, config, args.runs_dir) for config in chosen]
                for config, one in zip(chosen, said):
                    try:
                        reason = one.result()
                    except KeyboardInterrupt:
                        pool.shutdown(cancel_futures=True)
                        raise
                    except Exception as error:  # PyTorch's own, or a process that the system ended
                        reason = f"{config.run_id}: {type(error).__name__}: {error}"
                    if reason:
                        failed = report(RunError(reason))
            return failed
        for number, config in enumerate(chosen, start=1):
            say(f"[{number}/{len(chosen)}] {config.run_id}")
            if reason := _train(config, args.runs_dir):
                failed = report(RunError(reason))
    except (DataError, ValueError, OSError) as error:
        return report(error)
    return failed
