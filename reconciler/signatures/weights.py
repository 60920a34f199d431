"""What servers say when the model's files are the trouble: access, completeness, tokenizers, NIM's downloads."""

from __future__ import annotations

from typing import Final

from reconciler.signatures.known import Weight, known

ACCESS: Final = "Store a token (`sparkkeep secret set hf`) and give the recipe `env: {HF_TOKEN: {secret: hf}}`."
NGC: Final = "Store the key (`sparkkeep secret set ngc`) and give the recipe `env: {NGC_API_KEY: {secret: ngc}}`."

WEIGHTS: Final = (
    known(
        r"gated repo|access to model \S+ is restricted|403 client error: forbidden for url: https://huggingface\.co",
        "ModelGated",
        "the model is gated: Hugging Face gives it only to accounts that were granted access",
        f"Ask for access on the model's page. {ACCESS}",
        terminal=True,
        example="Cannot access gated repo for url https://huggingface.co/meta-llama/Llama-3.2-1B-Instruct/resolve/main/"
        "config.json.",
    ),
    known(
        r"invalid user token|invalid credentials in authorization header|invalid username or password",
        "HfTokenRefused",
        "Hugging Face does not accept the token",
        ACCESS,
        terminal=True,
        example="huggingface_hub.errors.HfHubHTTPError: 401 Client Error: Unauthorized for url: "
        "https://huggingface.co/api/whoami-v2 Invalid user token.",
    ),
    known(
        r"repository not found for url|is not a valid model identifier|revision not found for url"
        r"|repo id must be in the form",
        "ModelNotFound",
        "there is no such model or revision, or it is private",
        f"Check its name and revision. For a private one: {ACCESS}",
        terminal=True,
        example="OSError: Qwen/Qwen3-0.6 is not a local folder and is not a valid model identifier listed on "
        "'https://huggingface.co/models'",
    ),
    known(
        r"LocalEntryNotFoundError|OfflineModeIsEnabled|outgoing traffic has been disabled"
        r"|cannot find the requested files in the (?:disk|local) cache|cannot find any model weights"
        r"|couldn't connect to 'https://huggingface\.co'|does not appear to have a file named"
        r"|failed to open GGUF file|no such file or directory: '/\S*(?:models--|\.gguf|\.safetensors)",
        "WeightsMissing",
        "the model's files are not on this Spark, or not all of them, and it could not fetch them",
        "Fetch the model to this Spark, or let the container go to the network (HF_HUB_OFFLINE).",
        example="huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder for "
        "the specified revision on the local disk and outgoing traffic has been disabled.",
    ),
    known(
        r"SafetensorError|error while deserializing header|data is not within the file bounds|invalid magic characters",
        "WeightsDamaged",
        "a file of the model is incomplete or damaged",
        "Fetch the model again; a download was cut short.",
        terminal=True,
        example="safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer",
    ),
    known(
        r"contains custom code which must be executed|requires you to execute the \w+ file in that repo",
        "CodeNotTrusted",
        "the model brings code of its own, which runs only with your consent",
        "Read that code; then add the flag `trust-remote-code: true`.",
        terminal=True,
        example="ValueError: The repository `OpenGVLab/InternVL3-1B` contains custom code which must be executed to "
        "correctly load the model.",
    ),
    known(
        r"can't load tokenizer for|couldn't instantiate the backend tokenizer|tokenizer class \S+ does not exist"
        r"|failed to load the tokenizer|unknown pre-tokenizer type",
        "TokenizerUnusable",
        "the model's tokenizer can't be loaded",
        "Use a newer image, or name another one with the flag `tokenizer`.",
        terminal=True,
        example="OSError: Can't load tokenizer for 'mistralai/Devstral-Small-2505'. If you were trying to load it from "
        "'https://huggingface.co/models', make sure you don't have a local directory with the same name.",
    ),
    known(
        r"default chat template is no longer allowed|chat template \(\S+\) looks like a file path"
        r"|chat template string \(\S+\) appears path-like",
        "ChatTemplateMissing",
        "it has no chat template: the model brings none, or the file that was named does not exist",
        "Name one with the flag `chat-template`, by its path inside the container.",
        terminal=True,
        example="The supplied chat template (unsloth.jinja) looks like a file path, but it failed to be opened. "
        "Reason: [Errno 2] No such file or directory: 'unsloth.jinja'",
    ),
    known(
        r"NGC_API_KEY is not set|NGC_API_KEY .*(?:required|missing|invalid)|nim.*authentication error"
        r"|error: request error: authentication error",
        "NgcKeyRefused",
        "NIM may not fetch its model: the NGC API key is missing or not accepted",
        NGC,
        terminal=True,
        example="[05-11 07:21:18.421 ERROR  nim_sdk::hub::repo  rust/nim-sdk/src/hub/repo.rs:119] error: Request "
        "error: Authentication Error",
    ),
    known(
        r"could not find a profile that is currently runnable|could not match a profile in manifest",
        "NimNoProfile",
        "this NIM has no profile for the Spark's GPU and memory",
        "Use an image whose name ends in -dgx-spark, or pick a profile (NIM_MODEL_PROFILE) from its "
        "`list-model-profiles`.",
        terminal=True,
        example="ERROR 06-23 15:41:21.19 utils.py:21] Could not find a profile that is currently runnable with the "
        "detected hardware. Please check the system information below and make sure you have enough free GPUs.",
    ),
    known(
        r"PermissionError: \[Errno 13\]|permission denied: '?/|permission denied \(os error 13\)"
        r"|cannot (?:create directory|touch|open) \S+ permission denied|read-only file system",
        "FolderRefused",
        "it may not write to a folder that it needs",
        "Let the mounted folder belong to the container's user (`user:` in the recipe), or open it (`chmod a+w`).",
        terminal=True,
        example="PermissionError: [Errno 13] Permission denied: '/opt/nim/.cache/ngc'",
    ),
    known(
        r"401 client error",
        "HfTokenRefused",
        "Hugging Face wants to know who asks (401)",
        ACCESS,
        terminal=True,
        weight=Weight.HINT,
        example="requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: "
        "https://huggingface.co/meta-llama/Llama-3.1-8B/resolve/main/config.json",
    ),
)
