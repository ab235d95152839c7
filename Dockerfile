# The batch image that profiles/kubernetes/config.yaml names: the book's packages and its library, for pods that find a
# checkout of the book on a volume at /book. Python's own image brings no CUDA; PyTorch's packages do.
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory /book \
    && useradd --create-home --uid 1000 book

COPY pyproject.toml constraints.txt README.md LICENSE /src/
COPY lib /src/lib
RUN pip install --no-cache-dir --constraint /src/constraints.txt "/src[book]" \
        snakemake-executor-plugin-kubernetes snakemake-storage-plugin-fs \
    && rm -rf /src

USER 1000
ENV LOGITNORM_ROOT=/book LOGITNORM_DATA=/book/images OMP_NUM_THREADS=1
WORKDIR /book
CMD ["python", "-m", "logitnorm", "--help"]
