"""The way of an export to the Hugging Face Hub."""

from pathlib import Path

from star_loop.run.disk import RunError


def push(folder: Path, repository: str) -> list[str]:
    """Upload an export to the Hugging Face Hub: the model, and its data as a data set of the same name, both private.

    Returns:
        Their addresses.

    Raises:
        RunError: no token, no network, no such name, or a refusal of the Hub; what is on disk stays.
    """
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import HfHubHTTPError

    if constants.HF_HUB_OFFLINE:
        raise RunError("--push: HF_HUB_OFFLINE is set: unset it, or upload the folder elsewhere")
    if get_token() is None:
        raise RunError(
            "--push needs a token of the Hugging Face Hub with the right to write: hf auth login, or HF_TOKEN"
        )
    api, addresses = HfApi(), []
    kinds = {"model": folder, "dataset": folder / "data"}
    try:
        for kind, what in kinds.items():
            if what.is_dir():
                addresses.append(str(api.create_repo(repository, repo_type=kind, private=True, exist_ok=True)))
                api.upload_folder(repo_id=repository, repo_type=kind, folder_path=what, ignore_patterns="data/*")
    except (*HfHubHTTPError.__bases__, ValueError) as error:  # those of the HTTP library, whichever it is
        raise RunError(f"--push {repository}: the Hub did not take it ({error}); the export is in {folder}") from error
    return addresses
