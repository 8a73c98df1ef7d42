"""Models and tokenizers from transformers, as they are: no weight is folded, centred or scaled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optprobe.activations.model.gguf_file import SUFFIX, check_readable, is_gguf
from optprobe.activations.model.wrappers import unwrapped
from optprobe.bundled import model_folder
from optprobe.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

LANGUAGE_MODELS = ("language_model", "text_model", "text_decoder")
"""What transformers calls the part of a model of several senses that reads text."""
DTYPES = ("float32", "bfloat16", "float16")
BUNDLED = "bundled"
AUTO, SPLIT = "auto", "split"


def load_model(
    name: str | Path,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "float32",
    head: bool = False,
) -> nn.Module:
    """
    Load a model (transformers' `AutoModel`, or with its head `AutoModelForCausalLM`), ready for inference.

    Parameters
    ----------
    name : str or Path
        "bundled", a folder, a GGUF file, or a name on the Hugging Face hub.
    revision : str, optional
        Branch, tag or commit of a hub model.
    device : str, default="auto"
        A torch device; "auto" is the GPU if there is one; "split" divides the model among all GPUs, by accelerate.
    dtype : {"float32", "bfloat16", "float16"}
        Type of the weights.
    head : bool, default=False
        Whether with its language-model head.

    Returns
    -------
    torch.nn.Module
        The model on its device, in evaluation mode.

    Raises
    ------
    InputError
        If the model cannot be found or read, a weight is missing, or device or dtype is unknown.
    """
    import torch
    from transformers import AutoModel, AutoModelForCausalLM

    if dtype not in DTYPES:
        raise InputError(f"the type of the weights is one of {', '.join(DTYPES)}, not {dtype!r}")
    target = None if device == SPLIT else resolve_device(device)
    placed = _split() if target is None else {}
    kind = AutoModelForCausalLM if head else AutoModel
    model, info = _load(kind, name, revision, dtype=getattr(torch, dtype), output_loading_info=True, **placed)
    missing = sorted(key for key in info["missing_keys"] if "pooler" not in key)
    if missing:
        raise InputError(
            f"the model {str(name)!r} has no weights for {missing[0]} ({len(missing)} missing): its files do not "
            "belong to its config.json"
        )
    loaded: nn.Module = (model if target is None else model.to(target)).eval()
    return loaded


def model_and_tokenizer(
    model: str | Path | nn.Module, tokenizer: Any, revision: str | None, device: str, dtype: str, head: bool = False
) -> tuple[nn.Module, Any]:
    """
    Return a model that is ready to run, and its tokenizer.

    Parameters
    ----------
    model : str, Path or torch.nn.Module
        What `load_model` takes, or a loaded model, which stays as it is.
    tokenizer : transformers tokenizer, str, Path or None
        By default the model's own; a loaded model needs it.
    revision, device, dtype, head
        As in `load_model`.

    Raises
    ------
    InputError
        If either cannot be had, or a loaded model is on another device.
    """
    if isinstance(tokenizer, str | Path):
        tokenizer = load_tokenizer(tokenizer)
    if isinstance(model, str | Path):
        if tokenizer is None:
            tokenizer = load_tokenizer(model, revision)
        return load_model(model, revision, device, dtype, head), tokenizer
    tokenizer = getattr(model, "tokenizer", None) if tokenizer is None else tokenizer
    model = unwrapped(model)
    if tokenizer is None:
        raise InputError("a loaded model comes without its tokenizer; give tokenizer= as well")
    own = device_of(model)
    if device not in (AUTO, str(own), own.type):
        raise InputError(f"the loaded model is on {own}, not on {device!r}; move it there first, or leave device out")
    return model, tokenizer


def language_model(model: nn.Module) -> tuple[str, nn.Module]:
    """
    Return the part of a model that reads text, by its name in it: of a vision-language model the outermost module that
    is called `language_model`, `text_model` or `text_decoder`; of any other the whole, by the empty name.
    """
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in LANGUAGE_MODELS and hasattr(module, "config"):
            return name, module
    return "", model


def vocabulary_size(model: nn.Module) -> int:
    """Return the number of token ids that a model knows; raises `InputError` if it has no table of tokens."""
    _, part = language_model(model)
    try:
        return int(part.get_input_embeddings().num_embeddings)  # type: ignore[operator]
    except (NotImplementedError, AttributeError) as error:
        raise InputError(f"{type(model).__name__} has no table of tokens, so it is not a language model") from error


def pad_token(model: nn.Module) -> int:
    """Return the token id that fills up a batch: the model's own, or 0 where it has none among its tokens."""
    pad = getattr(language_model(model)[1].config, "pad_token_id", None)
    return pad if isinstance(pad, int) and 0 <= pad < vocabulary_size(model) else 0


def device_of(model: nn.Module) -> torch.device:
    """Return the device that a model reads its tokens on; of a model whose weights are offloaded, where it runs."""
    import torch

    for module in model.modules():
        device = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
        if device is not None:
            return torch.device(device)
    return next(model.parameters()).device


def devices_of(model: nn.Module) -> list[str]:
    """Return the kinds of device that a model runs on, sorted; there are several if it is divided among them."""
    kinds = {parameter.device.type for parameter in model.parameters()} - {"meta"}
    return sorted(kinds | {device_of(model).type})


def context_length(model: nn.Module, tokenizer: Any) -> int | None:
    """Return the number of tokens that a model can read, None if there is no limit."""
    from torch import nn

    _, part = language_model(model)
    config: Any = part.config
    limits = [getattr(config.get_text_config(), "max_position_embeddings", None), tokenizer.model_max_length]
    for name, module in part.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith("position_embeddings") and module.padding_idx is not None:
            limits.append(module.num_embeddings - module.padding_idx - 1)
    known = [int(n) for n in limits if n is not None and 0 < n < 10**9]
    return min(known, default=None)


def check_vocabulary(model: nn.Module, input_ids: tuple[NDArray[np.int64], ...], tokenizer: Any) -> None:
    """Raise `InputError` if a token id is none of the model's: the tokenizer is another model's."""
    known = vocabulary_size(model)
    largest = max((int(ids.max()) for ids in input_ids if len(ids)), default=0)
    if largest >= known:
        raise InputError(
            f"the tokenizer {type(tokenizer).__name__} gives the token id {largest}, and {type(model).__name__} knows "
            f"ids 0 to {known - 1}; give the tokenizer that belongs to the model"
        )


def load_tokenizer(name: str | Path, revision: str | None = None) -> Any:
    """
    Load the tokenizer of a model.

    Parameters
    ----------
    name : str or Path
        "bundled", a folder, a GGUF file, or a name on the Hugging Face hub.
    revision : str, optional
        Branch, tag or commit of a hub model.

    Returns
    -------
    transformers tokenizer
        The fast one where there is one.

    Raises
    ------
    InputError
        If it cannot be found or read.
    """
    from transformers import AutoTokenizer

    return _load(AutoTokenizer, name, revision)


def resolve_device(device: str) -> torch.device:
    """
    Return the torch device of a name.

    Parameters
    ----------
    device : str
        A torch device such as "cpu" or "cuda:0"; "auto" is the GPU if there is one.

    Raises
    ------
    InputError
        If there is no such device here.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"the device {device!r} cannot be used here ({_first_line(error)}); try 'cpu'") from error
    return resolved


def _split() -> dict[str, str]:
    """Return the options that divide a model among all GPUs."""
    from importlib.util import find_spec

    if find_spec("accelerate") is None:
        raise InputError("a model is split among GPUs by accelerate, which is not installed: pip install accelerate")
    return {"device_map": "auto"}


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Run a model in evaluation mode, uncompiled and without gradients, and give every module its own mode back."""
    import torch

    modes = [(module, module.training, module._compiled_call_impl) for module in model.modules()]
    model.eval()
    for module, *_ in modes:
        module._compiled_call_impl = None
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training, compiled in modes:
            module.training, module._compiled_call_impl = training, compiled


def _load(auto_class: Any, name: str | Path, revision: str | None, **options: Any) -> Any:
    """Call `auto_class.from_pretrained` quietly, from the disk only if `name` is a folder."""
    from safetensors import SafetensorError

    source = model_folder() if name == BUNDLED else Path(name)
    if is_gguf(source):
        check_readable(source, revision)
        options["gguf_file"] = source.name
        source = source.parent
    is_folder = source.is_dir()
    if is_folder and revision is not None:
        raise InputError(f"the model {str(name)!r} is a folder, which has no revision {revision!r}; leave it out")
    is_plain = is_folder and "gguf_file" not in options
    if is_plain and (source / "adapter_config.json").is_file():
        raise InputError(
            f"the folder {str(name)!r} holds an adapter: save what merge_and_unload() returns, and give that"
        )
    if is_plain and not (source / "config.json").is_file():
        raise InputError(f"the folder {str(name)!r} holds no model: it has no config.json")
    if not is_folder and (isinstance(name, Path) or name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise InputError(f"there is no model folder {str(name)!r}")
    if not is_folder and SUFFIX in str(name):
        raise InputError(f"there is no GGUF file {str(name)!r}; name the file by its path")
    options |= {"revision": revision} if revision is not None else {}
    try:
        with _quiet():
            return auto_class.from_pretrained(
                str(source), local_files_only=is_folder, trust_remote_code=False, **options
            )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        kind = "model" if "dtype" in options else "tokenizer"
        raise InputError(f"the {kind} of {str(name)!r} cannot be loaded: {_first_line(error)}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back transformers' progress bars and remarks, which concern training, and the hub's on each attempt."""
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging

    verbosity, bars, of_hub = logging.get_verbosity(), logging.is_progress_bar_enabled(), hub.get_verbosity()
    hub.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        hub.set_verbosity(of_hub)
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
