"""The device and the dtype of a model."""

import torch

DTYPES = ("float32", "bfloat16", "float16")


def select_device(device: str | torch.device | None) -> torch.device:
    """Return the requested device, or the fastest one available for None."""
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        picked = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={device!r} is not a torch device; pass 'cpu', 'cuda', 'cuda:1', 'mps' or None."
        ) from error
    if picked.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device={device!r} is not supported; pass 'cpu', 'cuda', 'mps' or None.")
    if picked.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={device!r}, but no CUDA device is available. Pass None or 'cpu'.")
    if picked.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device={device!r}, but no MPS device is available. Pass None or 'cpu'.")
    if picked.type == "cuda" and picked.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    # There is one CPU and one MPS device, whatever the index.
    return picked if picked.type == "cuda" else torch.device(picked.type)


def select_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return the requested dtype, or the fastest that the device supports natively for "auto"."""
    if dtype != "auto":
        if dtype not in DTYPES:
            raise ValueError(f"dtype={dtype!r}: pass 'auto' or one of {list(DTYPES)}.")
        return getattr(torch, dtype)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
    if device.type == "mps":
        return torch.float16
    return torch.bfloat16 if _cpu_multiplies_bfloat16() else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    # torch has no public function for this. Without either unit, bfloat16 is slower than float32.
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, check, bool)() for check in checks)
