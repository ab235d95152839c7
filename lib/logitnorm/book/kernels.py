"""Warm kernels: one process imports once what every notebook imports, and forks a runner and a kernel for each notebook.

A build executes some forty notebooks, and most of their time would be the import of papermill, PyTorch, seaborn,
scikit-learn and this library. `start` makes the process and names its socket in LOGITNORM_KERNELS, which `logitnorm.book.runner`
uses; it goes when the process that called `start` does. The socket lies in a folder that only this user can enter. Any command
of the library can be such a fork.

As a script, this file is the process that Jupyter takes for the kernel, or Snakemake for the command: it hands its
arguments, environment and output to the fork, and lives as long as the fork does. It imports nothing but the standard
library.

    python -IS kernels.py SOCKET kernel -f FILE ...
    python -IS kernels.py "$LOGITNORM_KERNELS" runner NOTEBOOK OUT ...    (nobody there: python -m logitnorm runner ...)
"""

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading

IMPORTED = ("ipykernel.kernelapp", "papermill", "torch", "torchvision", "safetensors.torch", "pandas", "scipy.stats", "sklearn.neighbors",
            "seaborn", "logitnorm.book.evidence", "logitnorm.book.pictures", "logitnorm.study.findings")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # none to lose in a fork


def start() -> None:
    """Start the process from which warm kernels fork, unless LOGITNORM_KERNELS is set, be it to nothing.

    Linux only: elsewhere a fork of such a process is not safe.
    """
    if sys.platform != "linux" or "LOGITNORM_KERNELS" in os.environ:
        return
    folder = tempfile.TemporaryDirectory(prefix="kernels-")
    path = os.path.join(folder.name, "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(64)
        server = subprocess.Popen([sys.executable, "-m", "logitnorm.book.kernels", str(listener.fileno())],
                                  pass_fds=[listener.fileno()], stdin=subprocess.PIPE,
                                  env={**os.environ, **ONE_THREAD, "MPLBACKEND": "module://matplotlib_inline.backend_inline"})
    start.kept = folder, server  # until this process ends: then the folder goes, and the server's input ends
    os.environ["LOGITNORM_KERNELS"] = path


def manager() -> type:
    """The class with which nbclient starts its kernel, made to ask for a warm one."""
    from jupyter_client.manager import AsyncKernelManager

    class Warm(AsyncKernelManager):
        def format_kernel_cmd(self, extra_arguments=None):
            cold = super().format_kernel_cmd(extra_arguments)  # python -m ipykernel_launcher -f FILE ...
            return [sys.executable, "-IS", __file__, os.environ["LOGITNORM_KERNELS"], "kernel",
                    *cold[cold.index("ipykernel_launcher") + 1:]]

    return Warm


def serve(listener: socket.socket) -> None:
    """Fork a process for each connection, until the input ends."""
    for name in IMPORTED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a kernel ended
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            become(connection)
        connection.close()


def become(connection: socket.socket) -> None:
    """Turn this fork into the kernel or the command that the other end asks for; it ends when that end does.

    A command's exit status goes to the other end.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    asked, files, _, _ = socket.recv_fds(connection, 1 << 20, 2)
    wanted = json.loads(asked)
    for number, file in enumerate(files, start=1):
        os.dup2(file, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    sys.path[0] = wanted["folder"]
    threading.Thread(target=lambda: connection.recv(1) or os._exit(1), daemon=True).start()
    what, *arguments = wanted["arguments"]
    status = 1
    try:
        if what == "kernel":
            from ipykernel.kernelapp import IPKernelApp

            IPKernelApp.launch_instance(argv=arguments)
            status = 0
        else:
            from logitnorm.__main__ import main

            status = main([what, *arguments])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send(bytes([status]))
        os._exit(status)


def ask(path: str, arguments: list[str]) -> int:
    """Have a kernel or a command forked, wait until it has ended, and return its exit status: 1 where it was killed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(path)
        asked = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}
        socket.send_fds(connection, [json.dumps(asked).encode()], [1, 2])
        return (connection.recv(1) or b"\1")[0]


if __name__ == "__main__":
    if sys.argv[1].isdigit():
        serve(socket.socket(fileno=int(sys.argv[1])))
    else:
        path, what, *arguments = sys.argv[1:]
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # Jupyter interrupts a kernel before it ends it: no traceback
        if os.path.exists(path):
            with contextlib.suppress(ConnectionError):  # the process has died: a cold one does the same
                sys.exit(ask(path, [what, *arguments]))
        os.execv(sys.executable, [sys.executable, "-m", *(["ipykernel_launcher"] if what == "kernel" else ["logitnorm", what]), *arguments])
