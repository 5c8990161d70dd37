"""Where a checkpoint lies: a folder, or a hub id in the hub's cache or to be downloaded. Needs neither torch nor transformers.

What is in the hub's cache loads without network.
"""

import hashlib
import re
from pathlib import Path

from huggingface_hub import snapshot_download

from pipeline.errors import CheckpointError

WEIGHTS = "model.safetensors"
PROCESSORS = ("processor_config.json", "preprocessor_config.json")
"""Where transformers keeps the image processor's settings, since version 5 and before."""
TOKENIZERS = ("tokenizer.json", "vocab.txt")
_HUB_FILES = ["config.json", WEIGHTS, *PROCESSORS, *TOKENIZERS, "tokenizer_config.json", "special_tokens_map.json"]
EXAMPLE = "Salesforce/blip-vqa-base"
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def locate(model: str) -> Path:
    """Find a complete checkpoint's folder, downloading it if it is nowhere here.

    Raises:
        CheckpointError: it cannot be found, or lacks files.
    """
    folder = _locate(model)
    _refuse_incomplete(model, folder)
    return folder


def find(model: str) -> Path | None:
    """Find a complete checkpoint's folder on this host, without a download."""
    folder = Path(model)
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(model, allow_patterns=_HUB_FILES, local_files_only=True))
        except (OSError, ValueError):
            return None
    return None if _missing(folder) else folder


def weights_hash(folder: Path) -> str:
    """SHA-256 of a checkpoint's weights, hex."""
    with (folder / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _locate(model: str) -> Path:
    folder = Path(model)
    if folder.is_dir():
        return folder
    if folder.exists() or not _HUB_ID.fullmatch(model):
        msg = f"model {model!r} is no folder and no hub id: give a checkpoint folder, or an id such as {EXAMPLE}"
        raise CheckpointError(msg)
    try:
        cached = Path(snapshot_download(model, allow_patterns=_HUB_FILES, local_files_only=True))
        if not _missing(cached):
            return cached
    except (OSError, ValueError):
        pass  # not cached, or an interrupted download, or no id after all: the hub's client says next what it is
    try:
        return Path(snapshot_download(model, allow_patterns=_HUB_FILES))
    except Exception as error:  # the hub's client lets its HTTP library's own errors through
        first_line = next(iter(str(error).strip().splitlines()), "no further word")
        msg = (
            f"model {model!r} is no folder here, not in the hub's cache, and could not be downloaded "
            f"({type(error).__name__}: {first_line}). Check the spelling; or run `hf download {model}` where there is network; "
            "or give a checkpoint folder"
        )
        raise CheckpointError(msg) from error


def _missing(folder: Path) -> list[str]:
    wanted = [("config.json",), (WEIGHTS,), PROCESSORS, TOKENIZERS]
    return [" or ".join(names) for names in wanted if not any((folder / name).is_file() for name in names)]


def _refuse_incomplete(model: str, folder: Path) -> None:
    missing = _missing(folder)
    if not missing:
        return
    msg = f"model {model!r} is no complete checkpoint: {folder} lacks {', '.join(missing)}"
    if WEIGHTS in missing and (folder / "pytorch_model.bin").is_file():
        msg += "; pickled weights (pytorch_model.bin) are refused because they can run code: convert them to safetensors"
    else:
        msg += "; save model and processor with save_pretrained, or download the checkpoint again"
    raise CheckpointError(msg)
