"""Questions in links without what they hold: a number or name that was typed never stands in an address.

Addresses are kept by browsers, proxies and logs. So a question is posted, and answered under a link that only this
database can read (Fernet, https://github.com/fernet/spec): going back, and reading a page again, works as ever.
"""

import base64
import hashlib

import orjson
from cryptography.fernet import Fernet, InvalidToken

Question = dict[str, str]


class Asked:
    """Seals questions and opens them, under a key of the database."""

    def __init__(self, key: bytes) -> None:
        derived = hashlib.blake2b(b"portal questions", key=key, digest_size=32).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(derived))

    def seal(self, question: Question) -> str:
        """Return a question as it may stand in an address."""
        return self._fernet.encrypt(orjson.dumps(question)).decode()

    def open(self, sealed: str) -> Question | None:
        """Return the question, None where this isn't one of ours."""
        try:
            told = orjson.loads(self._fernet.decrypt(sealed.encode()))
        except (InvalidToken, ValueError):
            return None
        return {str(name): str(value) for name, value in told.items()} if isinstance(told, dict) else None
