"""Loading checkpoints: what is read from where, and a clear sentence for everything that cannot be used."""

import hashlib
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
from safetensors.torch import load_file, save_file
from transformers import BlipProcessor
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from pipeline.checkpoint import load
from pipeline.errors import CheckpointError
from tests.integration.tiny_checkpoint import POSITIONS, QUESTIONS, SIDE, save_tiny, tiny_tokenizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save one small checkpoint for all; tests copy it before they change anything."""
    return save_tiny(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """Copy the checkpoint, so that the test may damage it."""
    return Path(shutil.copytree(saved, tmp_path / "checkpoint"))


def as_before_transformers_5(folder: Path) -> None:
    """Lay the same checkpoint out as Salesforce/blip-vqa-base is published: preprocessor_config.json and vocab.txt."""
    processor = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").unlink()
    (folder / "preprocessor_config.json").write_text(json.dumps(processor["image_processor"]))
    vocabulary = tiny_tokenizer().get_vocab()
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)) + "\n")
    (folder / "tokenizer.json").unlink()


def edit(folder: Path, name: str, change: Callable[[dict], None]) -> None:
    """Change one JSON file of the checkpoint."""
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))


def test_loaded_checkpoint_says_what_the_files_say(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Sizes, normalisation, answer tokens and hash are the files' own, and loading prints nothing."""
    loaded = load(str(folder))
    vocabulary = tiny_tokenizer().get_vocab()
    assert loaded.model_id == str(folder)
    assert loaded.weights == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert (loaded.image.size, loaded.vocabulary.max_positions) == (SIDE, POSITIONS)
    assert list(loaded.image.mean) == pytest.approx(BlipImageProcessorPil.image_mean)
    assert list(loaded.image.std) == pytest.approx(BlipImageProcessorPil.image_std)
    assert (loaded.vocabulary.start, loaded.vocabulary.unknown) == (vocabulary["[DEC]"], vocabulary["[UNK]"])
    assert not loaded.blip.training
    assert {str(parameter.dtype) for parameter in loaded.blip.parameters()} == {"torch.float32"}
    assert capfd.readouterr() == ("", "")


def test_weights_stored_in_half_precision_run_in_float32(folder: Path) -> None:
    """The demo checkpoint ships in float16; answers are computed in float32."""
    weights = {name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder, "config.json", lambda config: config.update(dtype="float16"))
    assert {str(parameter.dtype) for parameter in load(str(folder)).blip.parameters()} == {"torch.float32"}


def test_questions_are_tokenised_as_blips_own_processor_does(saved: Path) -> None:
    """Unpadded, special tokens included, unknown words in pieces."""
    loaded = load(str(saved))
    processor = BlipProcessor(BlipImageProcessorPil(), tiny_tokenizer())
    for ask in [*(question.ask for question in QUESTIONS.questions), "Is the CAT on fire?"]:
        assert loaded.vocabulary.tokenize(ask) == processor(text=ask)["input_ids"]


def test_checkpoint_laid_out_by_older_transformers_is_the_same(saved: Path, folder: Path) -> None:
    """The layout of Salesforce/blip-vqa-base gives the same pictures, tokens and answers' ids."""
    as_before_transformers_5(folder)
    old, new = load(str(folder)), load(str(saved))
    assert (old.image, old.vocabulary.start, old.weights) == (new.image, new.vocabulary.start, new.weights)
    assert old.vocabulary.tokenize("is the dog jumping?") == new.vocabulary.tokenize("is the dog jumping?")


def in_hub_cache(cache: Path, folder: Path, hub_id: str) -> None:
    """Put a checkpoint where the hub's client keeps a downloaded one."""
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    shutil.copytree(folder, repository / "snapshots" / "0123abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abc")


@pytest.fixture
def cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Leave the hub's client an address where nobody listens, and an empty cache."""
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    return cache


@pytest.mark.timeout(60)  # a loader that asks the hub would wait for its answer
def test_cached_hub_id_loads_without_network(cut_off: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was downloaded once is loaded without a word to the hub."""
    as_before_transformers_5(folder)
    in_hub_cache(cut_off, folder, "Example/tiny-vqa")
    with socket.create_server(("127.0.0.1", 0)) as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{hub.getsockname()[1]}")
        assert load("Example/tiny-vqa").image.size == SIDE
        hub.setblocking(False)
        with pytest.raises(BlockingIOError):
            hub.accept()


@pytest.mark.usefixtures("cut_off")
def test_hub_id_out_of_reach_is_refused_with_remedies() -> None:
    """Neither cached nor reachable: the sentence names the id and the ways out."""
    with pytest.raises(CheckpointError) as refused:
        load("Example/tiny-vqa")
    assert "'Example/tiny-vqa'" in str(refused.value)
    assert "hf download Example/tiny-vqa" in str(refused.value)
    assert "folder" in str(refused.value)


@pytest.mark.usefixtures("cut_off")
def test_id_that_the_hub_would_never_take_is_refused() -> None:
    """What only looks like an id ends in the same sentence, with the client's reason."""
    with pytest.raises(CheckpointError, match=r"'no--such/model' is no folder here.*HFValidationError"):
        load("no--such/model")


def test_half_downloaded_hub_id_is_not_taken_for_a_checkpoint(cut_off: Path, folder: Path) -> None:
    """A cache that lacks the weights sends the loader to the hub; without network the sentence says what is missing."""
    (folder / "model.safetensors").unlink()
    in_hub_cache(cut_off, folder, "Example/tiny-vqa")
    with pytest.raises(CheckpointError, match=r"lacks model\.safetensors.*download"):
        load("Example/tiny-vqa")


@pytest.mark.parametrize("model", ["nowhere", "../nowhere", "no/such/folder", "/no/such/folder", __file__])
def test_what_is_no_folder_and_no_hub_id_is_refused(model: str) -> None:
    """No network is tried for what cannot be a hub id."""
    with pytest.raises(CheckpointError, match="no folder and no hub id") as refused:
        load(model)
    assert repr(model) in str(refused.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "processor_config.json", "tokenizer.json"])
def test_incomplete_folder_is_refused(folder: Path, name: str) -> None:
    """The sentence names the folder and the file that is not there."""
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match="lacks") as refused:
        load(str(folder))
    assert str(folder) in str(refused.value)
    assert name in str(refused.value)


def test_pickled_weights_are_refused(folder: Path) -> None:
    """pytorch_model.bin could run code: it is named, and not read."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin.*safetensors"):
        load(str(folder))


def test_other_architecture_is_refused(folder: Path) -> None:
    """A BLIP that captions, or any other model, is told apart before its weights are read."""
    edit(folder, "config.json", lambda config: config.update(architectures=["BlipForConditionalGeneration"]))
    with pytest.raises(CheckpointError, match="is a BlipForConditionalGeneration, not a BlipForQuestionAnswering"):
        load(str(folder))


@pytest.mark.parametrize("name", ["config.json", "processor_config.json"])
def test_damaged_json_is_refused(folder: Path, name: str) -> None:
    """The file at fault is named."""
    (folder / name).write_text('{"architectures": [')
    with pytest.raises(CheckpointError, match=name):
        load(str(folder))


def test_damaged_tokenizer_is_refused(folder: Path) -> None:
    """A tokenizer.json cut short is an error of the checkpoint."""
    path = folder / "tokenizer.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(CheckpointError, match="tokenizer"):
        load(str(folder))


@pytest.mark.parametrize("kept", [0, 100, 50_000])
def test_truncated_weights_are_refused(folder: Path, kept: int) -> None:
    """A download cut short is no checkpoint."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(str(folder))


def test_weights_that_lack_a_layer_are_refused(folder: Path) -> None:
    """Random values never stand in for weights that are not there."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["text_decoder.bert.encoder.layer.1.output.dense.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 weights, text_decoder\.bert\.encoder\.layer\.1\.output\.dense\.weight"):
        load(str(folder))


def test_weights_of_other_sizes_are_refused(folder: Path) -> None:
    """Config and weights must belong together."""
    edit(folder, "config.json", lambda config: config["text_config"].update(intermediate_size=64))
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(str(folder))


@pytest.mark.parametrize(
    ("setting", "value"), [("resample", 2), ("do_normalize", False), ("rescale_factor", 1.0), ("size", {"height": 4})]
)
def test_image_processor_that_works_otherwise_is_refused(folder: Path, setting: str, value: object) -> None:
    """Answering from pictures prepared in another way would be wrong in silence."""
    edit(folder, "processor_config.json", lambda config: config["image_processor"].update({setting: value}))
    with pytest.raises(CheckpointError, match=f"image processor setting {setting}"):
        load(str(folder))


def test_image_processor_of_another_size_is_refused(tmp_path: Path) -> None:
    """Both sizes are named."""
    with pytest.raises(CheckpointError, match="makes 64x64 pictures, its weights read 48x48: use one model's files"):
        load(str(save_tiny(tmp_path, image_side=64)))


def test_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    """Token ids beyond the weights' rows are found at once, not when a rare word is asked."""
    tiny_tokenizer(words=("yes", "no", *(f"w{index}" for index in range(9)))).save_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"its tokenizer knows \d+ tokens, its weights \d+"):
        load(str(folder))
