"""Finding personal data: patterns and their check digits, names by a small model and lists, in processes of their own.

Read in the order `page` (a text), `web`, `secrets`, `numbers`, `national`, `phones`, `addresses`, `people`, `companies`
(patterns), `gazetteer` and `ner` (names), `merge`, `local` (all of it), `split` and `pool` (elsewhere). It needs
`sparkkeep[redaction]`.
"""

from api.proxies.redaction.detect.extra import ExtraMissing
from api.proxies.redaction.detect.pool import PooledDetector
from api.proxies.redaction.detect.settings import CustomRecognizer, DetectionSettings

__all__ = ["CustomRecognizer", "DetectionSettings", "ExtraMissing", "PooledDetector"]
