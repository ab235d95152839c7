"""Nothing foreign is executed: no pickles, no extraction of archives, no notebooks from outside, no secrets."""

import ast
import io
import pickle
import re
import subprocess
import tarfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from archives import Bomb, as_tar
from logitnorm import data
from logitnorm.paths import ROOT
from logitnorm.study import images as official_images
from PIL import Image

# ---------------------------------------------------------------- what the code calls

FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
# call -> keywords with which it is allowed; None: never
GUARDED = {"torch.load": {"weights_only": True}, "np.load": {"allow_pickle": False},
           "numpy.load": {"allow_pickle": False},
           "yaml.load": None, "yaml.unsafe_load": None, "yaml.full_load": None, "pd.read_pickle": None,
           "pandas.read_pickle": None, "os.system": None, "os.popen": None, "eval": None, "exec": None, "compile": None,
           "shutil.unpack_archive": None}
FORBIDDEN_METHODS = {"extractall", "extract"}  # of archives; extractfile only reads
SHELL = {"subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_output", "subprocess.check_call"}


def dangers(source):
    """What in a piece of Python could execute something foreign: [(line, call)]."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [(node.lineno, f"import {name}") for name in names if name.partition(".")[0] in FORBIDDEN_MODULES]
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        keywords = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
        if name in GUARDED:
            allowed = GUARDED[name]
            if allowed is None or any(keywords.get(key) is not value for key, value in allowed.items()):
                found.append((node.lineno, name))
        if isinstance(node.func, ast.Attribute) and node.func.attr in FORBIDDEN_METHODS and name != "re.extract":
            found.append((node.lineno, name))
        if name in SHELL and keywords.get("shell"):
            found.append((node.lineno, f"{name}(shell=True)"))
    return sorted(found)


@pytest.mark.parametrize("bad", [
    "import pickle", "from pickle import loads", "import joblib", "torch.load(path)",
    "torch.load(p, weights_only=False)",
    "np.load(p)", "np.load(p, allow_pickle=True)", "yaml.load(text)", "pd.read_pickle(p)", "eval(text)", "exec(code)",
    "tar.extractall(folder)", "tarfile.open(p).extract('x')", "shutil.unpack_archive(p)", "os.system('ls')",
    "subprocess.run('ls', shell=True)",
])
def test_the_scan_finds_every_kind_of_danger(bad):
    assert len(dangers(bad)) == 1


PYTHON = [path for folder in ("lib", "tools", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.stem)
def test_no_module_loads_pickles_or_runs_text(path):
    assert dangers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_notebook_loads_pickles_or_runs_text(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert dangers(cell.source) == [], f"cell {cell.id}"
            assert not re.search(r"^\s*[!%]", cell.source, re.M), f"cell {cell.id} runs a shell or magic command"


# ---------------------------------------------------------------- what the readers do

@pytest.mark.parametrize("kind", ["object array", "pickle", "torch file"])
def test_a_cached_image_set_is_never_unpickled(tmp_path, monkeypatch, bomb, kind):
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("LOGITNORM_DATA", str(cache))
    path = cache / "isun-test.npz"
    if kind == "object array":
        np.savez(path, images=np.array([Bomb()], dtype=object))
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    else:
        torch.save(Bomb(), path)
    with pytest.raises(data.DataError):
        data.load("isun")


def test_torchvisions_pickles_are_read_only_after_their_checksum(tmp_path, monkeypatch, bomb, impatient):
    """A CIFAR archive that is not the recorded one is refused before its pickles are opened."""
    content = as_tar({"cifar-10-batches-py/data_batch_1": pickle.dumps(Bomb())})
    monkeypatch.setattr("pooch.HTTPDownloader", lambda **given: lambda url, output, of: Path(output).write_bytes(content))
    monkeypatch.setenv("LOGITNORM_DATA", str(tmp_path / "cache"))
    with pytest.raises(data.DataError, match="the download of cifar10 failed .*not the recorded checksum"):
        official_images.load("cifar10")


def test_no_name_in_an_archive_leads_outside(tmp_path):
    image = io.BytesIO()
    Image.new("RGB", (32, 32), (1, 2, 3)).save(image, "png")
    inside = tmp_path / "inside"
    inside.mkdir()
    with tarfile.open(inside / "evil.tar", "w") as tar:
        for name in ("../escaped.png", str(tmp_path / "absolute.png"), "a/../../up.png", "good.png"):
            member = tarfile.TarInfo(name)
            member.size = len(image.getvalue())
            tar.addfile(member, io.BytesIO(image.getvalue()))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo("link.png")
            link.type, link.linkname = kind, "/etc/passwd"
            tar.addfile(link)
        device = tarfile.TarInfo("device.png")
        device.type = tarfile.CHRTYPE
        tar.addfile(device)
    images = official_images.from_tar(str(inside / "evil.tar"))
    assert images.shape == (4, 32, 32, 3) and (images == [1, 2, 3]).all(), "decoded where they lie, links left out"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["evil.tar", "inside"]


# ---------------------------------------------------------------- what the build executes

@pytest.mark.slow
def test_the_build_executes_the_repositorys_notebooks_only(tmp_path):
    """A notebook that comes with a run folder or lies among the pages is data, never a program."""
    from small_book import snakemake
    from test_batch import STAND_IN, tiny_root

    root = tiny_root(tmp_path, STAND_IN)
    evil = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1/0")])
    for path in ("data/runs/tiny-seed9.ipynb", "data/runs/tiny-seed9/run.ipynb", "book/evil.ipynb"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(evil, root / path)
    (root / "_toc.yml").write_text("{root: book/index, parts: [{chapters: ["
                                   "{file: notebooks/train}, {file: book/evil}]}]}")
    plan = ("--dry-run", "--printshellcmds", "runs", "--cores", "1", "--config", "size=tiny")
    done = snakemake(root, *plan)
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"logitnorm runner (\S+)", done.stdout + done.stderr)) == {"notebooks/train.ipynb"}
    (root / "_toc.yml").write_text("{root: book/index, parts: [{chapters: [{file: notebooks/../../outside}]}]}")
    nbformat.write(evil, root.parent / "outside.ipynb")
    done = snakemake(root, *plan)
    assert done.returncode != 0 and "papermill" not in done.stdout + done.stderr


def test_jupyter_book_itself_executes_nothing():
    import yaml

    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert config["execute"]["execute_notebooks"] == "off"


# ---------------------------------------------------------------- secrets

SECRETS = {
    "private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40,})",
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "PyPI token": r"\bpypi-[A-Za-z0-9_-]{40,}",
    "Slack token": r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "API key": r"\bsk-[A-Za-z0-9_-]{20,}",
    "password": r"(?i)\b(?:password|passwd|secret_key|api_key|access_token)\s*[:=]\s*['\"][^'\"\s{}$]{8,}['\"]",
    "password in a URL": r"\b[a-z]+://[^/\s:@{}$]+:[^/\s:@{}$]{3,}@",
}


def secrets(text):
    return [kind for kind, pattern in SECRETS.items() if re.search(pattern, text)]


@pytest.mark.parametrize("kind, text", [
    ("private key", "-----BEGIN RSA " + "PRIVATE KEY-----"), ("AWS key", "AKIA" + "A1B2C3D4E5F6G7H8"),
    ("GitHub token", "ghp_" + "a" * 36), ("Hugging Face token", "hf_" + "a" * 34), ("PyPI token", "pypi-" + "a" * 60),
    ("password", "password = " + "'correct horse'".replace(" ", "-")),
    ("password in a URL", "https://me:" + "secret@example.org"),
])
def test_the_search_finds_planted_secrets(kind, text):
    assert kind in secrets(text)


def test_no_committed_file_holds_a_secret():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("needs the git repository to know what is committed")
    for name in filter(None, done.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            content = path.read_bytes()
            if path != Path(__file__).resolve() and b"\0" not in content[:8192]:  # text
                assert secrets(content.decode("utf-8", "replace")) == [], f"{name} holds a secret"
            assert path.suffix not in (".pkl", ".pickle", ".pt", ".pth", ".pem", ".key") and path.name != ".env", name
