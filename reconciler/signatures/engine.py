"""What vLLM, SGLang, TensorRT-LLM and llama.cpp say when they do not start: memory, flags, models, kernels."""

from __future__ import annotations

from typing import Final

from reconciler.signatures.known import Weight, known

NEWER: Final = "Use a newer image."

ENGINE: Final = (
    known(
        r"free memory on device\b.*is less than desired gpu memory utilization",
        "MemoryTakenAtStart",
        "less memory was free at its start than its gpu-memory-utilization asks for; on a Spark the page cache counts",
        "Drop the page cache (`sync; echo 3 > /proc/sys/vm/drop_caches`), stop what else runs, or lower "
        "`gpu-memory-utilization`.",
        example="ValueError: Free memory on device cuda:0 (101.3/121.69 GiB) on startup is less than desired GPU "
        "memory utilization (0.87, 105.87 GiB). Decrease GPU memory utilization or reduce GPU memory used by "
        "other processes.",
    ),
    known(
        r"max seq len \(\d+\).*(?:KV cache is needed|tokens that can be stored in KV cache)",
        "ContextTooLarge",
        "its KV cache is too small for one request of the full context length",
        "Lower `max-model-len` to what the log names, use `kv-cache-dtype: fp8`, or raise `gpu-memory-utilization`.",
        terminal=True,
        example="ValueError: To serve at least one request with the model's max seq len (196608), 23.25 GiB KV cache "
        "is needed, which is larger than the available KV cache memory (22.5 GiB). Based on the available memory, the "
        "estimated maximum model length is 190272.",
    ),
    known(
        r"no available memory for the cache blocks|please try to increase --mem-fraction-static"
        r"|could not be created: KV cache",
        "NoMemoryForCache",
        "the weights leave no memory for a KV cache",
        "Raise `gpu-memory-utilization` (SGLang: `mem-fraction-static`), stop what else runs, or take a smaller model.",
        example="RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. Current value: "
        "self.server_args.mem_fraction_static=0.2",
    ),
    known(
        r"user-specified max_model_len \(\d+\) is greater than the derived",
        "ContextTooLong",
        "max-model-len is longer than the model was made for",
        "Lower `max-model-len`, or configure rope scaling.",
        terminal=True,
        example="Value error, User-specified max_model_len (262144) is greater than the derived max_model_len "
        "(max_position_embeddings=131072 or model_max_length=None in model's config.json).",
    ),
    known(
        r"call to ibv_\w+ failed|RLIMIT_MEMLOCK",
        "MemlockTooLow",
        "it may not pin memory for the fast network (RDMA)",
        "Give the recipe `ulimits: {memlock: -1}`, `capAdd: [IPC_LOCK]` and the device /dev/infiniband.",
        terminal=True,
        example="misc/ibvwrap.cc:241 NCCL WARN Call to ibv_reg_mr_iova2 failed with error Cannot allocate memory",
    ),
    known(
        r"out of memory|cannot allocate memory|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED|NV_ERR_NO_MEMORY"
        r"|insufficient gpu memory|unable to allocate \S+ buffer",
        "OutOfMemory",
        "it ran out of memory",
        "Lower `gpu-memory-utilization`, `max-model-len` or `max-num-seqs`, or stop what else runs on the Spark.",
        example="torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
        "121.69 GiB of which 1.02 GiB is free.",
    ),
    known(
        r"node running low on memory|sending SIG(?:TERM|KILL) to process \d+ uid|oom-kill",
        "OutOfMemory",
        "a guard killed one of its processes because the Spark ran out of memory",
        "Lower its memory settings, or stop what else runs on the Spark.",
        example='sending SIGTERM to process 4182 uid 0 "VLLM::EngineCore": badness 1213, VmRSS 98203 MiB',
    ),
    known(
        r"exit ?code:? ?-9\b|died unexpectedly.*signal 9|\bSIGKILL\b|^Killed$",
        "KilledFromOutside",
        "one of its processes was killed, most likely by the kernel for lack of memory",
        "Look at `dmesg` on the Spark; lower its memory settings.",
        weight=Weight.HINT,
        example="Rank 0 scheduler is dead. Please check if there are relevant logs. Exit code: -9",
    ),
    known(
        r"error: argument \S+: (?:value .* cannot be converted to|invalid loads value)",
        "BadJsonFlag",
        "one of its flags wants JSON and got something else",
        "Write the flag as a map in the recipe, such as `speculative-config: {method: mtp}`; sparkkeep makes the JSON.",
        terminal=True,
        example='vllm serve: error: argument --diffusion-config/-dc: Value {{"canvas_length":256}} cannot be converted '
        "to <function loads at 0xf6edf860ca40>.",
    ),
    known(
        r"unknown flag|unrecognized arguments|invalid argument \"|flag provided but not defined|error: argument"
        r"|error: invalid argument:|no such option|the following arguments are required",
        "BadFlag",
        "it does not understand one of its flags",
        "Correct the recipe's flags for this version of the engine.",
        terminal=True,
        example="vllm serve: error: unrecognized arguments: --gpu-mem 0.8",
    ),
    known(
        r"model architectures \[.*\] are not supported|does not recognize this architecture|unknown model architecture",
        "ModelNotSupported",
        "this version of the engine does not know the model's architecture",
        f"{NEWER} Its transformers may be too old for the model.",
        terminal=True,
        example="llama_model_load: error loading model: error loading model architecture: unknown model architecture: "
        "'gemma4'",
    ),
    known(
        r"unknown quantization method|quantization method \S+ is not supported"
        r"|failed to find a kernel that can implement"
        r"|quantization method specified in the model config .* does not match",
        "QuantizationNotSupported",
        "the engine can't run the model's quantization here",
        "Use an image with kernels for it, another quantization of the model, or another backend flag.",
        terminal=True,
        example="ValueError: Failed to find a kernel that can implement the WNA16 linear layer. Reasons:",
    ),
    known(
        r"no kernel image is available for execution|is not defined for option 'gpu-name'|unsupported gpu architecture",
        "NoKernelForGpu",
        "the image holds no code for the Spark's GPU (GB10, sm_121)",
        "Use an image that is built for it: CUDA 13, sm_121.",
        terminal=True,
        example="torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device",
    ),
    known(
        r"failed to find c compiler|could not find nvcc|nvcc: not found",
        "CompilerMissing",
        "it wants to compile a kernel, and the image has no compiler",
        "Use the image's -devel variant, or one with compiled kernels.",
        terminal=True,
        example="RuntimeError: Failed to find C compiler. Please specify via CC environment variable",
    ),
    known(
        r"ModuleNotFoundError: no module named|ImportError: |error while loading shared libraries|undefined symbol",
        "ImageIncomplete",
        "the image lacks a module or library, or its parts do not fit together",
        "Use another version of the image; a nightly may be broken.",
        terminal=True,
        weight=Weight.HINT,
        example="ModuleNotFoundError: No module named 'ray'",
    ),
    known(
        r"illegal memory access|device-side assert|unspecified launch failure|misaligned address",
        "GpuFault",
        "the GPU reported a fault in a kernel",
        "Try another backend flag (attention, MoE) or another version of the image.",
        example="torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
    ),
    known(
        r"validation errors? for \w*(?:config|args)\b",
        "BadSetting",
        "it refuses one of its settings",
        "The log names the setting and what it allows.",
        terminal=True,
        weight=Weight.HINT,
        example="pydantic_core._pydantic_core.ValidationError: 1 validation error for SpeculativeConfig",
    ),
    known(
        r"engine core initialization failed|EngineCore (?:failed|encountered|died)|EngineDeadError"
        r"|engine core proc \S+ died",
        "EngineDied",
        "its engine process ended; its log names no known cause",
        "Read the log from its beginning: the first error counts.",
        weight=Weight.ECHO,
        example="RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): "
        "{'EngineCore_DP0': 1}",
    ),
    known(
        r"WorkerProc (?:initialization failed|hit an exception)|worker proc \S+ died|executor worker .*(?:died|error)"
        r"|ActorDiedError|scheduler is dead|scheduler hit an exception|exiting due to model loading error"
        r"|failed to load model|failed to initialize executor",
        "WorkerDied",
        "one of its processes ended; its log names no known cause",
        "Read the log from its beginning: the first error counts.",
        weight=Weight.ECHO,
        example="srv  llama_server: exiting due to model loading error",
    ),
)
