import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_images():
    """The folder of real image sets, where LOGITNORM_DATA names one; else the test is skipped."""
    folder = os.environ.get("LOGITNORM_DATA")
    if not folder or not (Path(folder) / "cifar10-train.npz").exists():
        pytest.skip("needs real images: set LOGITNORM_DATA to a folder that holds cifar10-train.npz")
    return Path(folder)
