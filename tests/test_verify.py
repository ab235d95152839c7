"""A run is what it says, or one sentence names what is wrong: forged and damaged copies of one real training."""

import csv
import functools
import json
import pickle
import re
import shutil
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from archives import Bomb
from fake_runs import edit_json, reseal, write_grid, write_run
from logitnorm import models, paths, runs
from logitnorm.config import Config
from logitnorm.runs import RunError
from logitnorm.study import parcel, results, scoring, training, verify, writing

COMMIT = "ab" * 20
SETTINGS = dict(size="smoke", method="logitnorm", epochs=2, batch_size=256, ood_sets=("brick", "text"), extra_sets=(),
                history_ood="text", keep_model=True)
GIT = {("rev-parse", "--is-shallow-repository"): "false", ("cat-file", "-t", COMMIT): "commit"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of digits, really trained, that says an honest commit."""
    folder = training.train(Config(**SETTINGS), tmp_path_factory.mktemp("trained"), "cpu")
    edit_json(folder, lambda info: info["code"].update(commit=COMMIT, dirty=False))
    return folder


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    """A copy to forge, in a repository that has the commit, beside an experiments.yaml that lists it."""
    monkeypatch.setattr(verify, "git", lambda *command: GIT.get(command, ""))
    entry = {**{name: list(v) if isinstance(v, tuple) else v for name, v in SETTINGS.items()}, "seeds": [1]}
    (tmp_path / "experiments.yaml").write_text(yaml.safe_dump({"runs": [entry]}))
    return shutil.copytree(trained, tmp_path / "runs" / trained.name)


def check(folder, **more):
    root = folder.parents[1]
    return verify.verify(folder, root / "experiments.yaml", root / "known", **more)


def refused(folder, sentence):
    with pytest.raises(RunError, match=sentence):
        check(folder)


def not_opened(archive, sentence):
    with pytest.raises(RunError, match=sentence), parcel.opened(archive):
        pytest.fail("it was opened")


def edit_history(folder, change):
    with open(folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows)
    writing.write_csv(folder / "history.csv", rows)
    reseal(folder)


def edit_scores(folder, change):
    """Change the arrays, and let metrics.csv, test accuracy and checksums follow."""
    config = results.load(folder).config
    arrays = results.load(folder).arrays()
    change(arrays)
    writing.write_tensors(folder / "scores.safetensors", arrays, {"run_id": config.run_id})
    measured = scoring.measure(config, arrays)
    writing.write_csv(folder / "metrics.csv", measured)
    edit_json(folder, lambda info: info.update(test_accuracy=measured[0]["value"]))
    reseal(folder)


# ---------------------------------------------------------------- an honest run

def test_an_honest_run_is_what_it_says_as_a_folder_and_as_an_archive(run):
    said = check(run)
    assert len(said) == 7 and said[1] == "the settings are those of experiments.yaml"
    assert "the weights give its scores on digits and text again" in said[6] and "odin on 490 of the images" in said[6]
    archive = parcel.pack(run)
    assert archive.name == f"{run.name}.zip"
    shutil.move(run, run.with_name("away"))
    assert verify.verify(archive, run.parents[1] / "experiments.yaml", run.parents[1] / "known") == said


def test_what_cannot_be_checked_is_said(run, monkeypatch):
    (run.parents[1] / "experiments.yaml").write_text("runs: []")
    monkeypatch.setattr(verify, "_usable", lambda name, download: False)
    monkeypatch.setitem(GIT, ("rev-parse", "--is-shallow-repository"), "true")
    said = " | ".join(check(run))
    assert "experiments.yaml does not list this run" in said and "this checkout has no history" in said
    assert "0 of 4 image sets" in said and "its scores were not computed again; --download fetches them" in said
    (run / "model.safetensors").unlink()
    reseal(run)
    assert "the run kept no weights" in check(run)[6]


def test_a_set_is_usable_if_it_is_here_is_made_here_or_may_be_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("LOGITNORM_DATA", str(tmp_path))
    (tmp_path / "isun-test.npz").touch()
    assert [name for name in ("isun", "brick", "digits", "gaussian_noise", "svhn", "svhn_part")
            if verify._usable(name, download=False)] == ["isun", "brick", "digits", "gaussian_noise"]
    assert verify._usable("svhn", download=True) and not verify._usable("svhn_part", download=True)


@pytest.mark.slow
def test_a_committed_run_of_real_images_is_what_it_says(real_images):
    said = verify.verify(paths.RUNS / "small-cifar100-wrn10_2-cross_entropy-seed1")
    assert "on cifar100 and svhn_part again" in said[6] and "12 of 12 image sets" in said[5]


def kind(run):
    return run.format, run.config.size, run.config.keep_model


@pytest.mark.slow
@pytest.mark.parametrize("folder", {kind(run): run.path for run in results.load_all(everything=True)}.values(),
                         ids=lambda path: path.name)
def test_a_committed_run_of_each_kind_is_what_it_says_but_for_its_weights(folder, monkeypatch):
    monkeypatch.setattr(verify, "_usable", lambda name, download: False)
    assert verify.verify(folder)[1] == "the settings are those of experiments.yaml"


# ---------------------------------------------------------------- damaged, or forged and sealed again

@pytest.mark.parametrize("change, sentence", [
    (lambda w: models.build("wrn10_1", 10, 0.0).state_dict(), "the weights give other predictions than the run says"),
    (lambda w: w | {"fc.weight": w["fc.weight"].roll(1, 1)}, r"the weights give other scores \(msp\) than the run says"),
    (lambda w: models.build("wrn10_2", 10, 0.0).state_dict(), "model.safetensors does not fit wrn10_1"),
    (lambda w: w | {"fc.bias": w["fc.bias"] / 0}, "the weights fc.bias are not finite")])
def test_swapped_weights(run, change, sentence):
    torch.manual_seed(5)
    path = run / "model.safetensors"
    writing.write_tensors(path, change(safetensors.torch.load_file(path)), {"run_id": run.name})
    reseal(run)
    refused(run, sentence)


def better_scores(arrays):
    ranks = arrays["msp/ranks"]
    ranks[360:] = np.minimum(ranks[360:], ranks[:360].min() + np.arange(len(ranks) - 360) % 3)


def a_few_better_scores(arrays):
    ranks = arrays["odin/ranks"]
    ranks[360:] = ranks[360:] // 2


@pytest.mark.parametrize("change, sentence", [
    (better_scores, r"other scores \(msp\) than the run says"),
    (a_few_better_scores, r"other scores \(odin\) than the run says"),
    (lambda arrays: arrays["digits/correct"].fill(True), "run.json says a test accuracy of 100.0 %, the history ends with"),
    (lambda arrays: arrays.update({"digits/labels": np.flip(arrays["digits/labels"]).copy()}),
     "the labels in scores.safetensors are not those of digits")])
def test_edited_scores_whose_metrics_and_checksums_follow(run, change, sentence):
    edit_scores(run, change)
    refused(run, sentence)


def test_edited_metrics(run):
    text = (run / "metrics.csv").read_text()
    (run / "metrics.csv").write_text(re.sub("^msp,text,fpr95,.*$", "msp,text,fpr95,0.5", text, flags=re.M))
    refused(run, "metrics.csv is damaged or was changed")
    reseal(run)
    refused(run, "says 0.5 for msp text fpr95, but the run's scores give")


def test_another_tau_in_the_settings_than_in_the_name(run):
    edit_json(run, lambda info: info["config"].update(tau=0.08))
    refused(run, "the settings in run.json say smoke-digits-wrn10_1-logitnorm-tau0.08")
    renamed = run.rename(run.with_name(run.name.replace("0.04", "0.08")))
    edit_json(renamed, lambda info: info.update(run_id=renamed.name))
    refused(renamed, "model.safetensors say smoke-digits-wrn10_1-logitnorm-tau0.04")


def test_other_settings_than_experiments_yaml_says(run):
    edit_json(run, lambda info: info["config"].update(odin_epsilon=0.1))
    refused(run, "was trained with odin_epsilon = 0.1, but experiments.yaml says 0.0014")
    edit_json(run, lambda info: info["config"].update(no_such=1))
    refused(run, "settings that this version does not know .unknown setting 'no_such'")


@pytest.mark.parametrize("code, sentence", [
    ({"commit": None}, r"no commit is known \(none\).*set LOGITNORM_COMMIT=<40 hex digits>"), ({"commit": "main"}, r"known \(main\)"), ({"dirty": True}, "differs from its commit"),
    ({"commit": "cd" * 20}, "by commit cdcdcdcdcd, which this repository does not have")])
def test_code_that_nobody_can_look_up(run, code, sentence):
    edit_json(run, lambda info: info["code"].update(code))
    refused(run, sentence)


def set_last(**values):
    return lambda rows: rows[-1].update(values)


@pytest.mark.parametrize("change, sentence", [
    (lambda rows: rows.pop(), "history.csv has 1 epochs, the settings say 2"),
    (set_last(train_loss="nan"), "epoch 2: train_loss is nan"),
    (set_last(lr="0.05"), "the learning rate is 0.05, the schedule of the settings gives"),
    (set_last(train_accuracy="31.234"), "no count of 1,280 images gives a train accuracy of 31.234000 %"),
    # 360 test images more among the 1,437: seven batches of 256
    (set_last(train_accuracy=f"{100 * 901 / 1792:.8g}"), "saw another number of images"),
    (set_last(test_accuracy="90"), "run.json says a test accuracy of")])
def test_a_history_that_cannot_be(run, change, sentence):
    edit_history(run, change)
    refused(run, sentence)


def test_training_on_test_images_as_far_as_it_shows(run, monkeypatch):
    for suspect in (lambda patch: patch.setattr(verify, "GAP", -100.0), lambda patch: patch.setitem(verify.BEST_ACCURACY, "digits", 0.0)):
        with monkeypatch.context() as patch, pytest.raises(RunError, match="has most likely been trained on test images"):
            suspect(patch)
            check(run)
    edit_json(run, lambda info: info["data"].update({"digits-train": info["data"]["digits-test"]}))
    refused(run, "digits-train and digits-test have the same checksum")


def test_other_images_than_the_finished_runs_had(run):
    known = write_run(run.parents[1] / "known", id_dataset="digits", architecture="wrn10_1", ood_sets=("text",),
                      extra_sets=(), history_ood="text", size="smoke")
    sums = json.loads((run / "run.json").read_text())["data"]
    edit_json(known, lambda info: info.update(data={"digits-train": sums["digits-train"]}))
    assert "1 of 4 image sets" in check(run)[5]
    edit_json(known, lambda info: info.update(data={"digits-train": "1" * 64}))
    refused(run, "its digits-train are other images than those of the finished runs")
    edit_json(known, lambda info: info.update(data={}))
    edit_json(run, lambda info: info["data"].update({"text-test": "1" * 64}))
    refused(run, "was scored on other images of text than those on this machine")


# ---------------------------------------------------------------- files that must not be opened

@pytest.mark.parametrize("name", ["model.safetensors", "scores.safetensors"])
@pytest.mark.parametrize("write", [lambda file: pickle.dump(Bomb(), file), lambda file: torch.save(Bomb(), file)],
                         ids=["pickle", "torch"])
def test_a_pickle_under_the_name_of_safetensors_is_not_opened(run, bomb, name, write):
    with open(run / name, "wb") as file:
        write(file)
    reseal(run)
    refused(run, f"{name} is a pickle under the name of a safetensors file; it was not opened")


def test_files_that_no_run_has(run, tmp_path):
    torch.save({}, run / "model.pt")
    refused(run, "holds model.pt; a run has .* weights only as safetensors")
    (run / "model.pt").unlink()
    (run / "history.csv").rename(tmp_path / "elsewhere.csv")
    (run / "history.csv").symlink_to(tmp_path / "elsewhere.csv")
    refused(run, r"holds history.csv \(a link\)")
    (run.parent / "link").symlink_to(run)
    refused(run.parent / "link", "is a link; name the run folder itself")


def test_a_run_in_progress_a_missing_one_and_a_file_that_run_json_does_not_know(run):
    refused(run.with_name("nowhere"), "does not exist; name a run folder")
    edit_json(run, lambda info: info["files"].pop("model.safetensors"))
    refused(run, "run.json lists .*, but the folder holds .*model.safetensors")
    refused(run.rename(run.with_name(f"{run.name}.part")), "is a run in progress")


def archive(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def link(name, target="/etc/passwd"):
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info, target


@pytest.mark.parametrize("members, sentence", [
    ([("../run.json", "{}")], r"holds '../run.json'"), ([("/run/run.json", "{}")], r"holds '/run/run.json'"),
    ([("run/../../run.json", "{}")], r"holds 'run/../../run.json'"), ([("..\\run.json", "{}")], "an archive holds one folder"),
    ([("run/run.json", "{}"), ("run/model.pt", "")], "holds 'run/model.pt'"), ([link("run/history.csv")], "a link or a device"),
    ([("run/run.json", "{}"), ("other/run.json", "{}")], "holds more than one run"), ([], "holds no run"),
    ([("run/run.json", "{}"), ("run/run.json", "{}")], "once each")])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_that_leads_anywhere_else_is_refused_before_anything_is_written(tmp_path, members, sentence, monkeypatch):
    monkeypatch.setattr(parcel.Path, "write_bytes", lambda *given: pytest.fail("something was written"))
    not_opened(archive(tmp_path / "a.zip", members), sentence)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = archive(tmp_path / "a.zip", [("run/scores.safetensors", bytes(parcel.MOST_BYTES + 1))])
    assert path.stat().st_size < parcel.MOST_BYTES / 500
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *given: pytest.fail("it was unpacked"))
    not_opened(path, "would unpack to 200 MB, more than any run has .* nothing was unpacked")


def test_a_bomb_that_lies_about_its_size_gives_no_more_than_it_says(tmp_path):
    path = archive(tmp_path / "a.zip", [("run/run.json", bytes(10_000_000))])
    content = path.read_bytes()
    size = (10_000_000).to_bytes(4, "little")
    assert content.count(size) == 2  # the local header and the directory
    path.write_bytes(content.replace(size, (100).to_bytes(4, "little")))
    not_opened(path, "is no readable archive")


def test_a_file_that_is_no_archive(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"not at all")
    not_opened(tmp_path / "a.zip", "is no readable archive")


@pytest.mark.parametrize("kind, where, what", [(zipfile.ZIP_DEFLATED, None, b"\xff"), (zipfile.ZIP_BZIP2, None, b"\xff"),
                                               (zipfile.ZIP_DEFLATED, "encrypted", b"\x01")])
def test_a_damaged_or_encrypted_archive_is_one_sentence_and_other_errors_pass(tmp_path, kind, where, what):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", kind) as file:
        file.writestr("run/run.json", "{}" * 50)
    with parcel.opened(path) as folder, pytest.raises(OSError, match="^mine$"):
        assert (folder / "run.json").read_text() == "{}" * 50
        raise OSError("mine")
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    for at in (6, directory + 8) if where else (30 + len("run/run.json"),):  # the flags, or the first byte of the stream
        content[at:at + 1] = what
    path.write_bytes(content)
    not_opened(path, "is no readable archive .* write it again")


def test_a_damaged_run_is_not_packed(run):
    (run / "history.csv").write_text("epoch\n")
    with pytest.raises(RunError, match="history.csv is damaged"):
        parcel.pack(run)
    assert parcel.main([str(run)]) == 1


def test_what_cannot_be_packed_or_written_is_told_without_a_word_on_space(run, capsys):
    (run.parent / "README.md").touch()
    assert parcel.main([str(run.parent / "README.md")]) == 1
    run.with_name(f"{run.name}.zip").mkdir()
    assert parcel.main([str(run)]) == 1
    file, folder = capsys.readouterr().err.splitlines()
    assert "README.md is no folder; name a run folder" in file and f"see that {run.parent} can be written" in folder and "space" not in folder


# ---------------------------------------------------------------- the command and its answer to a pull request

def test_the_command_says_what_it_checked_or_what_is_wrong(run, capsys):
    assert verify.main([str(run)]) == 0
    assert "metrics.csv follows from the scores" in capsys.readouterr().out
    (run / "metrics.csv").unlink()
    assert verify.main([str(run)]) == 1
    [sentence] = capsys.readouterr().err.splitlines()
    assert "metrics.csv is missing" in sentence


def test_the_report_names_the_numbers_and_the_lines_of_the_ledger_that_change(tmp_path, monkeypatch):
    folders = write_grid(tmp_path, seeds=(1,))
    monkeypatch.setattr(verify, "verify", lambda path, download: ["checked <b>"])
    changes = verify.changes
    monkeypatch.setattr(verify, "changes", lambda run: changes(run, tmp_path))
    text, right = verify.markdown(folders[1])
    run = results.load(folders[1])
    [fpr95] = run.metrics.query("score == 'msp' and ood_dataset == 'isun' and metric == 'fpr95'")["value"]
    assert right and f"| isun | {fpr95:.2f} |" in text and "- checked ?b?" in text
    assert "not yet run → stand-in: direction agrees (" in text
    assert verify.changes(run) and not [line for line in verify.changes(run) if "Proposition" in line]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"files": {"/dev/null": "0"}}', '{"files": {"../run.json": "0"}}'])
def test_a_record_that_no_run_has_is_refused_in_one_sentence(run, text):
    (run / "run.json").write_text(text)
    with pytest.raises(runs.RunError, match="run.json") as caught:
        verify.verify(run)
    assert "\n" not in str(caught.value)


def test_inside_its_folder_a_run_is_a_point(run, monkeypatch, tmp_path):
    monkeypatch.chdir(run)
    assert parcel.pack(".") == run.with_name(f"{run.name}.zip")
    with parcel.opened(".") as folder:
        assert folder == run


def test_a_run_that_cannot_be_read_does_not_end_the_report_of_the_others(run, tmp_path, monkeypatch, capsys):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_bytes(b"\xff")
    monkeypatch.setattr(verify, "verify", functools.partial(verify.verify, file=tmp_path / "experiments.yaml", known=tmp_path / "known"))
    monkeypatch.setattr(verify, "changes", lambda found: results.load_all(tmp_path))
    assert verify.main(["--report", str(tmp_path / "bad"), str(run)]) == 1
    bad, good = capsys.readouterr().out.split("### ")[1:]
    assert bad.startswith("✗") and "run.json is damaged" in bad
    assert good.startswith("✓") and "- not compared: " in good and "bad/run.json is damaged" in good


def test_the_report_quotes_nothing_that_a_stranger_wrote_as_markup(run):
    edit_json(run, lambda info: info["config"].update(tau="<script>@everyone[x](http://y)"))
    text, right = verify.markdown(run)
    assert not right and text.startswith("### ✗") and not set(text) & set("<>[@")
