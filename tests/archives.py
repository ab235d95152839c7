"""Archives of images, as the official ones are, and pickles that no reader may open, for tests of what downloads and reads them."""

import io
import os
import tarfile

from PIL import Image


def as_tar(members, mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def explode():
    os.mkdir(os.environ["BOMB"])


class Bomb:
    """Whoever unpickles this makes the folder named in BOMB; the fixture `bomb` names it and looks for it."""

    def __reduce__(self):
        return explode, ()
