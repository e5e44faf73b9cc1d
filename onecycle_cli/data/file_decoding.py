"""Decodes image files in order: in this process, and in worker processes when there is a lot to decode.

Worker processes import this file, so it does not import torch.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from time import monotonic

from onecycle_cli.data.cores import cores
from onecycle_cli.data.images import Pixels
from onecycle_cli.data.workers import worker_processes
from onecycle_cli.errors import InputError, reading_error

CHUNK = 64
"""The number of files that a worker decodes at once."""

AHEAD = 4
"""The number of chunks that are decoded ahead, beside one for each worker: a batch of `predict`."""

ALONE_SECONDS = 1.0
"""The time of decoding without workers, before they are started; a start takes 0.3 to 0.8 s."""

Decode = Callable[[Path], Pixels]
"""Decodes a file to uint8 (height, width, channels), with the same shape for all files; it can be pickled."""


@dataclass(frozen=True)
class DecodedFiles:
    """Some files: `read` has those that were decoded, `pixels` theirs, each uint8 (height, width, channels).

    `unreadable` has the others, each with a sentence that says why.
    """

    read: list[Path]
    pixels: list[Pixels]
    unreadable: list[tuple[Path, str]]


def read_image(path: Path, decode: Decode) -> Pixels:
    """Decodes one file; `InputError` if it is missing, is a folder, or cannot be decoded.

    `MachineError` if the system cannot read it.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder without images.", "Name image files, or folders that hold some.")
    if not path.is_file():
        raise InputError(f"There is no image at {path}.", "Name image files.")
    try:
        return decode(path)
    except Exception as error:  # Pillow's plugins raise many kinds of errors
        reason = f"{path} cannot be read as an image: {error}"
        raise reading_error(error, reason, "Repair it or leave it out.") from None


class FileDecoder:
    """Decodes files in order, `CHUNK` at a time: first in this process, later perhaps in worker processes.

    After `ALONE_SECONDS` of decoding, as many workers are started as make decoding as fast as the caller, who works
    between two chunks on `busy_cores` cores; 0 is a caller who waits for a GPU. None are started if what is left takes
    no longer. Chunks are the same with and without workers. The memory does not grow with the number of files.

    `workers` is the number of worker processes, 0 until they are started.
    """

    def __init__(self, files: Iterable[Path], decode: Decode, *, busy_cores: int) -> None:
        self._chunks = _chunks(files)
        self._decode = decode
        self._busy_cores = busy_cores
        self.workers = 0

    def __iter__(self) -> Iterator[DecodedFiles]:
        """Yields the files of each chunk; a file that cannot be decoded costs no other."""
        decoding, calling, alone = 0.0, 0.0, 0
        while decoding < ALONE_SECONDS:
            started = monotonic()
            chunk = next(self._chunks, None)
            if chunk is None:
                return
            decoded = decode_files(chunk, self._decode)
            ended = monotonic()
            yield decoded
            decoding, calling, alone = decoding + ended - started, calling + monotonic() - ended, alone + 1
        ahead = list(islice(self._chunks, alone))
        left = chain(ahead, self._chunks)
        if len(ahead) == alone:
            self.workers = fair_workers(decoding, calling * self._busy_cores)
        if self.workers:
            yield from _in_workers(left, self._decode, self.workers)
        else:
            yield from (decode_files(chunk, self._decode) for chunk in left)


def fair_workers(decoding: float, calling: float) -> int:
    """Returns how many of the cores decode, so that decoding and what the caller does take the same time.

    `decoding` and `calling` are the seconds that both take on one core. 0 where all work is better done by one process:
    on one core, and on a machine whose cores are all in use (at a load of 6 on two cores, a worker took a fifth off the
    images a second of CIFAR-10).
    """
    machine_is_busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    return 0 if cores() == 1 or machine_is_busy else round(cores() * decoding / (decoding + calling))


def _chunks(files: Iterable[Path]) -> Iterator[list[Path]]:
    left = iter(files)
    while chunk := list(islice(left, CHUNK)):
        yield chunk


def decode_files(files: Iterable[Path], decode: Decode) -> DecodedFiles:
    """Decodes files one after another, in a worker or in this process."""
    decoded = DecodedFiles([], [], [])
    for path in files:
        try:
            decoded.pixels.append(read_image(path, decode))
            decoded.read.append(path)
        except InputError as error:
            decoded.unreadable.append((path, error.what))
    return decoded


def _in_workers(chunks: Iterator[list[Path]], decode: Decode, workers: int) -> Iterator[DecodedFiles]:
    with worker_processes(workers) as pool:
        ahead: deque[Future[DecodedFiles]] = deque()
        while True:
            for chunk in islice(chunks, AHEAD + workers - len(ahead)):
                ahead.append(pool.submit(decode_files, chunk, decode))
            if not ahead:
                return
            yield ahead.popleft().result()
