"""What an app speaks and what a backend speaks, translated where the two differ.

Nothing here reads or writes a socket, looks at a clock it was not given, or waits: bytes in, bytes out.
"""

from api.proxies.dialects.factory import streams, translation
from api.proxies.dialects.names import Dialect, dialect_of
from api.proxies.dialects.native import Learned
from api.proxies.dialects.translated import Translation

__all__ = ["Dialect", "Learned", "Translation", "dialect_of", "streams", "translation"]
