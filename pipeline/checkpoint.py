"""A Hugging Face BLIP VQA checkpoint, a folder or a hub id, made ready to be asked. Knows nothing of batches or devices.

Weights come from safetensors only: a pickled checkpoint could run code. What is in the hub's cache loads without network.
With `pipeline.reference` (and the trainer) the only importer of transformers, which is silenced here for the process: its
warnings would speak of choices that this module makes on purpose.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field, PositiveInt, ValidationError
from safetensors import SafetensorError
from transformers import AutoTokenizer, BlipForQuestionAnswering
from transformers.utils import logging

from pipeline.blip import AnswerDecoder, AnswerScorer, BlipVqa, ImageEncoder, QuestionEncoder
from pipeline.errors import CheckpointError
from pipeline.location import EXAMPLE, PROCESSORS, WEIGHTS, locate, weights_hash
from pipeline.packing import Vocabulary
from pipeline.preprocess import ImageSpec


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded checkpoint."""

    model_id: str
    """As the user named it: folder or hub id."""
    weights: str
    """SHA-256 of the weights file, hex."""
    blip: BlipVqa
    """The fused graph over `vqa`'s own layers, float32, in eval mode."""
    vqa: Any
    """The `BlipForQuestionAnswering` itself, for `pipeline.reference`."""
    image: ImageSpec
    vocabulary: Vocabulary
    tokenizer_json: str
    """The tokenizer as `tokenizers` reads it: all of it that asking needs."""


class _Size(BaseModel):
    height: PositiveInt
    width: PositiveInt


class _ImageProcessor(BaseModel):
    """The settings of BLIP's image processor, with its defaults; the literals are what `pipeline.preprocess` does."""

    size: _Size
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]
    resample: Literal[3] = 3  # Pillow's number for bicubic
    do_resize: Literal[True] = True
    do_rescale: Literal[True] = True
    do_normalize: Literal[True] = True
    do_center_crop: Literal[False] | None = False
    do_pad: Literal[False] | None = False
    rescale_factor: float = Field(1 / 255, ge=1 / 255 - 1e-9, le=1 / 255 + 1e-9)


def load(model: str) -> Checkpoint:
    """Load a checkpoint.

    Args:
        model: a folder in Hugging Face format, or a hub id such as Salesforce/blip-vqa-base.

    Raises:
        CheckpointError: it cannot be found, is incomplete or damaged, or is no BLIP VQA checkpoint.
    """
    folder = locate(model)
    silence_transformers()  # after a download, whose progress is worth seeing
    _refuse_other_architecture(model, folder)
    vqa = _load_weights(model, folder)
    image = _image_spec(model, folder, side=vqa.config.vision_config.image_size)
    tokenizer = _load_tokenizer(model, folder)
    return Checkpoint(
        model_id=model,
        weights=weights_hash(folder),
        blip=fuse(vqa, image),
        vqa=vqa,
        image=image,
        vocabulary=_vocabulary(model, tokenizer, vqa),
        tokenizer_json=tokenizer.backend_tokenizer.to_str(),
    )


def silence_transformers() -> None:
    """Leave only transformers' errors, for the whole process."""
    untyped: Any = logging
    untyped.set_verbosity_error()
    untyped.disable_progress_bar()


def fuse(vqa: Any, image: ImageSpec) -> BlipVqa:
    """Wrap a `BlipForQuestionAnswering`'s layers, which stay its own, into the one-pass graph, in eval mode."""
    encoder = ImageEncoder(vqa.vision_model, image.mean, image.std)
    return BlipVqa(encoder, QuestionEncoder(vqa.text_encoder), AnswerScorer(AnswerDecoder(vqa.text_decoder))).eval()


def _read_json(model: str, path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"model {model!r}: {path} cannot be read as JSON ({error}): download or save the checkpoint again"
        raise CheckpointError(msg) from error


def _refuse_other_architecture(model: str, folder: Path) -> None:
    config = _read_json(model, folder / "config.json")
    found = (config.get("architectures") or [config.get("model_type")])[0] if isinstance(config, dict) else None
    if found != BlipForQuestionAnswering.__name__:
        wanted = f"not a {BlipForQuestionAnswering.__name__}: give a BLIP VQA checkpoint such as {EXAMPLE}"
        msg = f"model {model!r} is a {found}, {wanted}"
        raise CheckpointError(msg)


def _load_weights(model: str, folder: Path) -> Any:
    architecture: Any = BlipForQuestionAnswering
    try:
        vqa, report = architecture.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        msg = f"model {model!r}: the weights in {folder} cannot be loaded ({error}): download or save the checkpoint again"
        raise CheckpointError(msg) from error
    if absent := sorted(report["missing_keys"]):
        # transformers would go on with random values in their place
        msg = f"model {model!r}: {folder / WEIGHTS} lacks {len(absent)} weights, {absent[0]} the first: not these weights' config"
        raise CheckpointError(msg)
    return vqa.eval()


def _image_spec(model: str, folder: Path, *, side: int) -> ImageSpec:
    # the new file may hold a processor without image settings, beside the old file that has them
    documents = [_read_json(model, folder / name) for name in PROCESSORS if (folder / name).is_file()]
    settings = next((found["image_processor"] for found in documents if "image_processor" in found), documents[-1])
    try:
        processor = _ImageProcessor.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        msg = f"model {model!r}: image processor setting {where} = {first['input']!r} is not supported: {first['msg']}"
        raise CheckpointError(msg) from error
    if (processor.size.height, processor.size.width) != (side, side):
        size = f"{processor.size.width}x{processor.size.height}"
        msg = f"model {model!r}: its image processor makes {size} pictures, its weights read {side}x{side}: use one model's files"
        raise CheckpointError(msg)
    return ImageSpec(size=side, mean=processor.image_mean, std=processor.image_std)


def _load_tokenizer(model: str, folder: Path) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        msg = f"model {model!r}: the tokenizer in {folder} cannot be loaded ({error}): download or save the checkpoint again"
        raise CheckpointError(msg) from error


def _vocabulary(model: str, tokenizer: Any, vqa: Any) -> Vocabulary:
    config = vqa.config.text_config
    start = vqa.decoder_start_token_id
    known = max(tokenizer.get_vocab().values()) + 1
    if known > config.vocab_size:
        msg = f"model {model!r}: its tokenizer knows {known} tokens, its weights {config.vocab_size}: use one model's files"
        raise CheckpointError(msg)
    if start is None or not 0 <= start < config.vocab_size:
        where = f"text_config.bos_token_id = {start} in config.json"
        msg = f"model {model!r}: {where} is no token of its vocabulary of {config.vocab_size}"
        raise CheckpointError(msg)
    return Vocabulary(
        tokenize=lambda text: list(tokenizer(text)["input_ids"]),
        start=start,
        unknown=tokenizer.unk_token_id,
        max_positions=config.max_position_embeddings,
    )
