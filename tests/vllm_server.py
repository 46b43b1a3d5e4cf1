"""vLLM's own OpenAI server on a CPU, as somebody would start it beside a run."""

import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from star_loop.generators.vllm_internals import ENVIRONMENT

READY = "Application startup complete"


@contextmanager
def vllm_server(model: Path, folder: Path, *, rank: int = 8) -> Iterator[str]:
    """Its address up to `/v1`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ, **ENVIRONMENT, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": "1", "TORCH_COMPILE_DISABLE": "1",
    }  # fmt: skip
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name", "tiny",
        "--host", "127.0.0.1", "--port", str(port), "--enforce-eager", "--dtype", "float32", "--enable-lora",
        "--max-lora-rank", str(rank), "--max-loras", "1", "--max-num-seqs", "16", "--kv-cache-memory-bytes", "100000000",
        "--disable-uvicorn-access-log",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said: deque[str] = deque(maxlen=40)
    for line in process.stdout:
        said.append(line)
        if READY in line:
            break
    else:
        raise RuntimeError(f"vLLM's server did not start:\n{''.join(said)}")
    rest = threading.Thread(target=lambda: said.extend(process.stdout or ()))
    rest.start()
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()
        rest.join()
