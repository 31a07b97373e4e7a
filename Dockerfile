# Train, prune and audit without installing Python: docker run --volume "$PWD:/work" pruning-study prune
FROM python:3.11-slim

# The native engine is compiled at its first use, because it is compiled for the processor at hand.
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*

# An index of PyTorch's builds without CUDA makes the image 4 GB smaller.
ARG PIP_EXTRA_INDEX_URL
COPY . /source
RUN pip install --no-cache-dir -c /source/constraints.txt '/source[train]' && rm -r /source

# Runs, data, reports and the compiled engine are in the folder where a command is called. It is the home of every
# user, even of one whom `docker run --user` names and whom the image does not know.
RUN useradd --home-dir /work --create-home pruning
ENV HOME=/work
USER pruning
WORKDIR /work
VOLUME /work

# The arguments after the image's name are a command of pruning-study, or another program with its arguments.
ENTRYPOINT ["sh", "-c", "case $1 in pruning-*|mlflow) ;; *) set -- pruning-study \"$@\" ;; esac; exec \"$@\"", "sh"]
CMD ["--help"]
